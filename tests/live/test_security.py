"""Who Elasticsearch lets in, and who not, it is the same by way of the proxy, whatever is asked for."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from multidict import CIMultiDictProxy

from testbed import RunningElasticsearch
from testbed.http import basic
from tests.support.accounts import PASSWORD, SERVICE
from tests.support.inference import ASKED, NEW
from tests.support.proxied import proxied
from tests.support.search_app import ENDPOINT, TWO_STAGES
from tests.support.searches import reranking
from tests.support.templates import with_templates

JSON = dict[str, Any]

READER: Final = basic("two_roles", PASSWORD)
RUN_AS: Final = "es-security-runas-user"
SECOND: Final = "es-secondary-authorization"

CALLERS: Final[dict[str, tuple[dict[str, str], str]]] = {
    "a user": ({"Authorization": READER}, "all"),
    "a user with a second one": (
        {"Authorization": READER, SECOND: basic("monitor", PASSWORD)},
        "all",
    ),
    "a superuser as itself": ({"Authorization": basic("elastic", PASSWORD), RUN_AS: "two_roles"}, "all"),
    "no monitor_inference": ({"Authorization": basic("reader", PASSWORD)}, "searches"),
    "no index": ({"Authorization": basic("monitor_inference", PASSWORD)}, "inference"),
    "a service account": ({"Authorization": SERVICE}, "inference"),
    "run as another": (
        {"Authorization": basic("impersonator", PASSWORD), RUN_AS: "manage_inference"},
        "inference",
    ),
    "documents that take a licence": ({"Authorization": basic("some_documents", PASSWORD)}, "nothing"),
    "run as one may not": ({"Authorization": READER, RUN_AS: "manage"}, "nothing"),
    "nobody": ({"Authorization": basic("nobody", PASSWORD)}, "nothing"),
    "no credentials": ({}, "unknown"),
    "a wrong password": ({"Authorization": basic("two_roles", "wrong")}, "unknown"),
    "a wrong second one": ({"Authorization": READER, SECOND: basic("monitor", "wrong")}, "unknown"),
    "an unknown key": ({"Authorization": "ApiKey bm86bm8="}, "unknown"),
    "a wrong token": ({"Authorization": SERVICE[:-8] + "AAAAAAA="}, "unknown"),
    "an unknown scheme": ({"Authorization": "Negotiate YII="}, "unknown"),
}
"""Headers, and what they open: `unknown` is a 401 to everything."""

ALL: Final[JSON] = {"standard": {"query": {"match_all": {}}}}
RERANK: Final = reranking(ALL)
RRF: Final[JSON] = {"retriever": {"rrf": {"retrievers": [ALL, ALL]}}}


def body(value: JSON) -> bytes:
    return json.dumps(value).encode()


def lines(*bodies: JSON) -> bytes:
    return b"".join(b"{}\n" + body(each) + b"\n" for each in bodies)


PLAIN: Final[tuple[tuple[str, str, bytes], ...]] = (
    ("GET", "/_cluster/health?filter_path=status,error", b""),
    ("GET", "/guarded/_doc/0", b""),
    ("POST", "/guarded/_search", body({"query": {"match_all": {}}})),
    ("POST", "/guarded/_msearch", lines({"query": {"match_all": {}}}, {"query": {"match_all": {}}})),
    ("GET", "/guarded/_search?q=text:a", b""),
)
RERANKED: Final[dict[str, tuple[str, str, bytes]]] = {
    "_search": ("POST", "/guarded/_search", body(RERANK)),
    "in two stages": ("POST", f"/guarded/_search?{TWO_STAGES}", body(RERANK)),
    "_msearch": ("POST", "/guarded/_msearch", lines(RERANK)),
    "a template": ("POST", "/guarded/_search/template", body({"source": RERANK, "params": {}})),
    "_async_search": ("POST", "/guarded/_async_search", body(RERANK)),
}


@dataclass(frozen=True)
class Told:
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def comparable(self) -> tuple[int, Any]:
        """What does not differ from one request to the next."""
        value = json.loads(re.sub(rb'"took":\d+', b'"took":0', self.body))
        for challenges in _challenges(value):
            challenges.sort()
        return self.status, value


def _challenges(value: Any) -> list[list[str]]:
    """Return the ways to authenticate that errors name, which come in any order."""
    if isinstance(value, list):
        return [found for item in value for found in _challenges(item)]
    if not isinstance(value, dict):
        return []
    own = value.get("WWW-Authenticate")
    below = [found for item in value.values() for found in _challenges(item)]
    return [own, *below] if isinstance(own, list) else below


def searched(told: Told) -> int:
    """Return the status of the one search in an answer."""
    if told.status != 200:
        return told.status
    answer = json.loads(told.body)
    (search,) = answer.get("responses", [answer])
    failed = "error" in search or "error" in search.get("response", {})
    status: int = search.get("status", 403 if failed else 200)
    return status


class Ways:
    """To Elasticsearch: direct, and by way of the proxy."""

    def __init__(self, direct: str, proxied: str, session: aiohttp.ClientSession) -> None:
        self._direct = direct
        self._proxied = proxied
        self._session = session

    async def direct(self, method: str, target: str, data: bytes, headers: Mapping[str, str]) -> Told:
        return await self._ask(self._direct + target, method, data, headers)

    async def proxied(
        self, method: str, target: str, data: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Told:
        return await self._ask(self._proxied + target, method, data, headers or {})

    async def _ask(self, url: str, method: str, data: bytes, headers: Mapping[str, str]) -> Told:
        sent = {"Content-Type": "application/json", **headers} if data else headers
        async with self._session.request(method, url, data=data or None, headers=sent) as answer:
            return Told(answer.status, answer.headers, await answer.read())


@pytest.fixture(scope="module")
def guarded(secured: RunningElasticsearch) -> Iterator[str]:
    """Index a document; return the address of its Elasticsearch."""
    call = secured.server.call
    assert call("PUT", "/guarded/_doc/0?refresh=true", {"text": "a 1"}).status == 201
    yield secured.url
    call("DELETE", "/guarded")


@pytest.fixture
async def ways(guarded: str, tmp_path: Path) -> AsyncIterator[Ways]:
    async with (
        with_templates(guarded) as templates,
        proxied(templates.url, tmp_path, check_privileges=True) as edge,
        aiohttp.ClientSession() as session,
    ):
        yield Ways(guarded, f"http://{edge.address}", session)


@pytest.mark.parametrize(("headers", "opens"), CALLERS.values(), ids=CALLERS.keys())
class TestCallers:
    async def test_what_is_plain_is_answered_alike(
        self, ways: Ways, headers: dict[str, str], opens: str
    ) -> None:
        for request in PLAIN:
            direct, ours = await asyncio.gather(
                ways.direct(*request, headers), ways.proxied(*request, headers)
            )
            assert ours.comparable == direct.comparable
            assert (direct.status == 401) is (opens == "unknown")

    async def test_a_reranked_search_opens_no_more_than_a_plain_one(
        self, ways: Ways, headers: dict[str, str], opens: str
    ) -> None:
        search = ("POST", "/guarded/_search", body({"query": {"match_all": {}}}))
        plain = await ways.direct(*search, headers)
        for name, request in RERANKED.items():
            ours = await ways.proxied(*request, headers)
            status = searched(ours)
            expected = {"all": 200, "unknown": 401}.get(opens, 403)
            assert (name, status) == (name, expected), ours.body
            if opens in ("unknown", "inference", "nothing") and name == "_search":
                assert ours.comparable == plain.comparable
            assert b"a 1" in ours.body or status != 200

    async def test_without_a_reranker_nothing_more_is_needed(
        self, ways: Ways, headers: dict[str, str], opens: str
    ) -> None:
        ours = await ways.proxied("POST", "/guarded/_search", body(RRF), headers)
        assert ours.status == {"all": 200, "searches": 200, "unknown": 401}.get(opens, 403)

    async def test_endpoints(self, ways: Ways, headers: dict[str, str], opens: str) -> None:
        manages = headers.get(RUN_AS) == "manage_inference"
        reads = {"all": 200, "inference": 200, "unknown": 401}.get(opens, 403)
        changes = 401 if opens == "unknown" else 200 if manages else 403
        for method, target, data, status in (
            ("GET", "/_inference/_all", b"", reads),
            ("POST", f"/_inference/rerank/{ENDPOINT}", body(ASKED), reads),
            ("PUT", "/_inference/rerank/mine", body(NEW), changes),
            ("DELETE", "/_inference/mine", b"", changes),
        ):
            ours = await ways.proxied(method, target, data, headers)
            if headers.get("Authorization") == SERVICE:  # which has many rights of its own
                assert ours.status in (200, 404)
            else:
                assert (target, ours.status) == (target, status), ours.body
            if opens == "unknown" and SECOND not in headers:  # which is looked at by APIs that are there
                assert ours.comparable == (await ways.direct(method, target, data, headers)).comparable

    async def test_no_answer_repeats_the_credentials(
        self, ways: Ways, headers: dict[str, str], opens: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        secrets = [value.split()[-1] for name, value in headers.items() if name != RUN_AS]
        for method, target, data in (*PLAIN, *RERANKED.values(), ("GET", "/_inference/_all", b"")):
            ours = await ways.proxied(method, target, data, headers)
            shown = f"{ours.headers}{ours.body!r}{caplog.text}"
            assert not [secret for secret in secrets if secret in shown]


class TestAsynchronousSearches:
    """Others do not learn that it is there."""

    async def test_it_is_its_callers_alone(self, ways: Ways) -> None:
        mine = {"Authorization": READER}
        target = "/guarded/_async_search?keep_on_completion=true"
        begun = await ways.proxied("POST", target, body(RERANK), mine)
        path = f"/_async_search/{json.loads(begun.body)['id']}"
        for headers, opens in CALLERS.values():
            for method in ("GET", "DELETE"):
                if headers == mine:
                    continue
                other = await ways.proxied(method, path, headers=headers)
                expected = {401} if opens == "unknown" else {404, 403} if RUN_AS in headers else {404}
                assert other.status in expected, other.body
        assert (await ways.proxied("GET", path, headers=mine)).status == 200
        assert (await ways.proxied("DELETE", path, headers=mine)).status == 200
        assert (await ways.proxied("GET", path, headers=mine)).status == 404
