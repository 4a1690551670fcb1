"""The page's server: who may ask it, and what it saves."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rerank_proxy.relevance.client.searching import RefusedError, UnreachableError
from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.growing import read_lines
from rerank_proxy.relevance.judging.acts import Act
from rerank_proxy.relevance.judging.server import SESSION
from rerank_proxy.relevance.judging.sessions import MAX_SESSIONS, Sessions
from rerank_proxy.relevance.judging.workspace import Workspace
from tests.support.judgings import Page, Shelf, made, serving

HOSTILE = "<img src=x onerror=alert(1)>"
GRADE = {"query": "q1", "document": "d1", "grade": 2}


@pytest.fixture
def shelf() -> Shelf:
    shelf = Shelf()
    for name in ("d1", "d2", "d4"):
        shelf.put(name, title=f"{HOSTILE} {name}")
    return shelf


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return made(tmp_path)


@pytest.fixture
async def page(workspace: Workspace, shelf: Shelf) -> AsyncIterator[Page]:
    async with serving(workspace, "anna", shelf) as page:
        yield page


def saved(workspace: Workspace, judge: str = "anna") -> list[tuple[str, str, int | None, bool]]:
    acts = read_lines(workspace.path / "persons" / f"{judge}.jsonl", Act)
    return [(act.query, act.document, act.grade, act.unsure) for act in acts]


async def test_without_a_session_nothing_is_read_or_written(page: Page, workspace: Workspace) -> None:
    for method, path in (
        ("GET", "/pool"),
        ("GET", "/pool/query?id=q1"),
        ("GET", "/conflicts"),
        ("GET", "/conflicts/query?id=q1"),
        ("PUT", "/judgments"),
        ("PUT", "/resolutions"),
        ("GET", "/nothing"),
    ):
        for session in ("", "A" * 43):
            status, body = await page.call(method, path, GRADE, {SESSION: session})
            assert status == 401, (method, path)
            assert "the newest address" in body["error"]["reason"]
    assert saved(workspace) == []


async def test_a_key_opens_one_window(page: Page) -> None:
    key = page.addresses[0].partition("#")[2]
    await page.enter()
    assert len(page.addresses) == 2
    status, body = await page.call("POST", "/session", {"key": key})
    assert status == 403
    assert "used before" in body["error"]["reason"]
    assert (await page.call("GET", "/pool"))[0] == 200
    first = page.session
    await page.enter()
    assert page.session != first
    assert (await page.call("GET", "/pool", headers={SESSION: str(first)}))[0] == 200


def test_sessions_are_bounded() -> None:
    keys: list[str] = []
    sessions = Sessions(keys.append)
    opened = [sessions.open(keys[-1]) for _ in range(MAX_SESSIONS + 1)]
    assert [sessions.knows(str(each)) for each in opened] == [False] + [True] * MAX_SESSIONS
    assert sessions.open("é") is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:80"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_pages_of_other_sites_are_refused_even_with_a_session(page: Page, headers: Any) -> None:
    await page.enter()
    for method, path, body in (("GET", "/pool", None), ("PUT", "/judgments", GRADE), ("GET", "/", None)):
        status, answer = await page.call(method, path, body, headers)
        assert status == 403
        assert "another site" in answer["error"]["reason"]
    key = {"key": page.addresses[-1].partition("#")[2]}
    assert (await page.call("POST", "/session", key, headers))[0] == 403


async def test_the_page_is_for_everyone_and_runs_nothing_foreign(page: Page) -> None:
    async with page.client.get(page.origin + "/") as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        text = await answer.text()
    for name in ("judge.js", "judge.css", "look.css", "theme.js"):
        assert f"pages/{name}" in text
        async with page.client.get(f"{page.origin}/pages/{name}") as answer:
            assert answer.status == 200
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert (await page.call("GET", "/pages/..%2f__init__.py"))[0] == 404


async def test_what_a_person_sees(page: Page) -> None:
    await page.enter()
    status, work = await page.call("GET", "/pool")
    assert status == 200
    assert work["judge"] == "anna"
    assert len(work["scale"]) == 4
    assert {query["id"]: query["documents"] for query in work["queries"]} == {"q1": 3, "q2": 2}
    _, query = await page.call("GET", "/pool/query?id=q1")
    documents = {each["id"]: each for each in query["documents"]}
    assert documents.keys() == {"d1", "d2", "d3"}
    assert documents["d1"]["fields"] == [
        {"name": "title", "text": f"{HOSTILE} d1", "characters": len(f"{HOSTILE} d1")}
    ]
    assert documents["d3"] == {"id": "d3", "missing": True, "fields": [], "grade": None, "unsure": False}


async def test_each_grade_is_saved_at_once(page: Page, workspace: Workspace) -> None:
    await page.enter()
    for more, progress in (
        ({"grade": 3}, (1, 0)),
        ({"grade": 0}, (1, 0)),
        ({"grade": None, "unsure": True}, (1, 1)),
        ({"grade": None, "unsure": False}, (0, 0)),
        ({"grade": 1}, (1, 0)),
    ):
        status, body = await page.call("PUT", "/judgments", {**GRADE, **more})
        assert status == 200
        assert (body["query"]["judged"], body["query"]["unsure"]) == progress
        assert saved(workspace)[-1] == ("q1", "d1", more["grade"], more.get("unsure", False))
    _, query = await page.call("GET", "/pool/query?id=q1")
    assert {each["id"]: each["grade"] for each in query["documents"]} == {"d1": 1, "d2": None, "d3": None}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({**GRADE, "grade": 4}, 404),
        ({**GRADE, "grade": -1}, 404),
        ({**GRADE, "grade": 2, "unsure": True}, 404),
        ({**GRADE, "document": "d4"}, 404),
        ({**GRADE, "query": "q9"}, 404),
        ({**GRADE, "grade": "2"}, 400),
        ({**GRADE, "grade": True}, 400),
        ({**GRADE, "more": 1}, 400),
        ({"query": "q1"}, 400),
        ([], 400),
        ({**GRADE, "document": "d" * 20_000}, 413),
    ],
)
async def test_what_is_not_a_judgment_is_refused(
    page: Page, workspace: Workspace, body: Any, status: int
) -> None:
    await page.enter()
    for path in ("/judgments", "/resolutions"):
        assert (await page.call("PUT", path, body))[0] == status
    assert saved(workspace) == []
    assert workspace.resolutions() == []


async def test_a_body_of_another_type_is_refused(page: Page) -> None:
    await page.enter()
    headers = {SESSION: str(page.session), "Content-Type": "text/plain"}
    async with page.client.put(f"{page.origin}/judgments", data=b"{}", headers=headers) as answer:
        assert answer.status == 415


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (RefusedError(404, "no such index [films]"), 502),
        (UnreachableError("http://localhost:9201 cannot be reached"), 502),
        (RelevanceError("persons/ben.jsonl, line 3: is damaged"), 500),
    ],
)
async def test_what_cannot_be_shown_is_said(
    page: Page, shelf: Shelf, failure: Exception, status: int
) -> None:
    await page.enter()
    shelf.failure = failure
    answer = await page.call("GET", "/pool/query?id=q1")
    assert answer[0] == status
    assert str(failure) in answer[1]["error"]["reason"]
    assert (await page.call("GET", "/pool/query"))[0] == 400
    assert (await page.call("GET", "/pool/query?id=q9"))[0] == 404


async def test_conflicts_are_shown_and_decided(workspace: Workspace, shelf: Shelf) -> None:
    with workspace.person_file("ben") as ben:
        ben.add([Act("q1", "d1", grade=0), Act("q1", "d2", grade=1), Act("q2", "d4", grade=3)])
    async with serving(workspace, "anna", shelf) as page:
        await page.enter()
        _, found = await page.call("GET", "/conflicts")
        assert found == {"agreement": [], "queries": []}, "what anna has not judged shows no grade of ben's"
        await page.call("PUT", "/judgments", {**GRADE, "grade": 2})
        await page.call("PUT", "/judgments", {**GRADE, "document": "d2", "grade": 1})
        _, found = await page.call("GET", "/conflicts")
        (compared,) = found["agreement"]
        assert (compared["between"], compared["documents"], compared["equal"]) == (["anna", "ben"], 2, 0.5)
        assert [(query["id"], query["documents"]) for query in found["queries"]] == [("q1", 1)]
        _, query = await page.call("GET", "/conflicts/query?id=q1")
        (document,) = query["documents"]
        assert (document["id"], document["given"], document["grade"]) == ("d1", {"anna": 2, "ben": 0}, None)
        status, answer = await page.call("PUT", "/resolutions", {**GRADE, "grade": 1})
        assert (status, answer["query"]["judged"]) == (200, 1)
        assert (await page.call("GET", "/conflicts/query?id=q2"))[0] == 404
    (act,) = workspace.resolutions()
    assert (act.document, act.grade, act.by) == ("d1", 1, "anna")
    assert [document for _, document, *_ in saved(workspace)] == ["d1", "d2"]
