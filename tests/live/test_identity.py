"""Whatever the proxy asks Elasticsearch for a caller, it asks with that caller's identity and no other's.

Callers send the same request at the same time, and a relay notes every request that reaches Elasticsearch.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from testbed import RunningElasticsearch
from testbed.http import basic
from tests.support.accounts import PASSWORD, SERVICE
from tests.support.inference import ASKED, NEW
from tests.support.proxied import proxied
from tests.support.recording import Passed, Recording, recording
from tests.support.search_app import TWO_STAGES
from tests.support.searches import reranking
from tests.support.templates import with_templates
from tests.support.waiting import until_true

JSON = dict[str, Any]

IDENTITY: Final = (
    "authorization", "cookie", "es-secondary-authorization", "es-security-runas-user", "traceparent",
    "x-elastic-product-origin", "x-opaque-id",
)  # fmt: skip
"""Headers by which Elasticsearch knows a caller and a request, and a gateway before it might."""

ALL: Final[JSON] = {"standard": {"query": {"match_all": {}}}}
RRF: Final[JSON] = {"retriever": {"rrf": {"retrievers": [ALL, ALL]}}}
RERANK: Final = reranking(ALL)
TEMPLATE: Final[JSON] = {"source": RERANK, "params": {}}


def lines(*bodies: JSON) -> bytes:
    return b"".join(b"{}\n" + json.dumps(body).encode() + b"\n" for body in bodies)


def body(value: JSON) -> bytes:
    return json.dumps(value).encode()


REQUESTS: Final[dict[str, tuple[str, str, bytes, tuple[str, ...]]]] = {
    "plain": ("POST", "/who/_search", body({"query": {"match_all": {}}}), ("POST /who/_search",)),
    "document": ("GET", "/who/_doc/0", b"", ("GET /who/_doc/0",)),
    "reranked": ("POST", "/who/_search", body(RERANK), ("POST /who/_search",)),
    "in two stages": (
        "POST",
        f"/who/_search?{TWO_STAGES}",
        body(RERANK),
        ("POST /who/_pit", "POST /_search", "POST /_search", "DELETE /_pit"),
    ),
    "without a reranker": (
        "POST",
        "/who/_search",
        body(RRF),
        ("POST /who/_pit", "POST /_search", "POST /_search", "POST /_search", "DELETE /_pit"),
    ),
    "a fault": (
        "POST",
        "/who/_search",
        body(reranking({"standard": {"query": {"match": {"text": [1]}}}})),
        ("POST /who/_search", "GET /_search"),
    ),
    "a misspelt retriever": (
        "POST",
        "/who/_search",
        body({"retriever": {"text_similarity_rerankr": {}}}),
        ("POST /who/_search",),
    ),
    "many": ("POST", "/who/_msearch", lines(RERANK, RERANK), ("POST /_msearch",)),
    "a template": (
        "POST",
        "/who/_search/template",
        body(TEMPLATE),
        ("POST /_render/template", "POST /who/_search"),
    ),
    "many templates": (
        "POST",
        "/who/_msearch/template",
        lines(TEMPLATE, TEMPLATE),
        ("POST /_render/template", "POST /_render/template", "POST /_msearch"),
    ),
    "asynchronous": ("POST", "/who/_async_search", body(RERANK), ("POST /who/_search",)),
    "endpoints": ("GET", "/_inference/_all", b"", ()),
    "a new endpoint": ("PUT", "/_inference/rerank/mine", body(NEW), ()),
    "an inference": ("POST", "/_inference/rerank/.rerank-v1-elasticsearch", body(ASKED), ()),
    "a deletion": ("DELETE", "/_inference/mine", b"", ()),
}
"""Each with requests that it takes upstream, at least: method and path."""
WHO_MAY: Final = "POST /_security/user/_has_privileges"
CHECKED: Final = ("endpoints", "a new endpoint", "an inference", "a deletion")


class Hop:
    """The whole proxy behind a client, and the relay between it and Elasticsearch."""

    def __init__(self, url: str, noted: Recording, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._noted = noted
        self._session = session

    async def call(self, method: str, target: str, data: bytes, headers: Mapping[str, str]) -> int:
        sent = {"Content-Type": "application/json", **headers} if data else headers
        async with self._session.request(method, self._url + target, data=data, headers=sent) as answer:
            await answer.read()
            return answer.status

    @property
    def noted(self) -> Sequence[Passed]:
        """What has reached Elasticsearch since `passed` was called."""
        return self._noted.passed

    def passed(self) -> list[Passed]:
        """Return what reached Elasticsearch since the last call."""
        passed = [*self._noted.passed]
        self._noted.passed.clear()
        return passed


@pytest.fixture
async def hop(secured: RunningElasticsearch, tmp_path: Path) -> AsyncIterator[Hop]:
    call = secured.server.call
    assert call("PUT", "/who/_doc/0?refresh=true", {"text": "a 1"}).status in (200, 201)
    async with (
        with_templates(secured.url) as templates,
        recording(templates.url) as noted,
        proxied(noted.url, tmp_path, check_privileges=True) as edge,
        aiohttp.ClientSession() as session,
    ):
        yield Hop(f"http://{edge.address}", noted, session)
    call("DELETE", "/who")


@pytest.fixture
def callers() -> list[dict[str, str]]:
    """Return the headers of callers, with all that may tell one from another. The first two may do all."""
    identities = [
        {"Authorization": basic("elastic", PASSWORD)},
        {"Authorization": basic("elastic", PASSWORD), "es-secondary-authorization": SERVICE},
        {"Authorization": basic("impersonator", PASSWORD), "es-security-runas-user": "manage_inference"},
        {"Authorization": SERVICE},
        {"Authorization": "ApiKey bm86bm8="},
    ]
    return [
        {
            **identity,
            "Cookie": f"session={number}",
            "X-Opaque-Id": f"caller-{number}",
            "X-elastic-product-origin": f"product-{number}",
            "traceparent": f"00-{number:032x}-00f067aa0ba902b7-01",
        }
        for number, identity in enumerate(identities, 1)
    ]


def identity(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items() if name.lower() in IDENTITY}


def asked(passed: Sequence[Passed], headers: Mapping[str, str]) -> list[str]:
    return [f"{each.method} {each.path}" for each in passed if identity(each.headers) == identity(headers)]


@pytest.mark.parametrize("name", REQUESTS)
async def test_every_request_upstream_is_the_callers(
    hop: Hop, callers: list[dict[str, str]], name: str
) -> None:
    method, target, data, least = REQUESTS[name]
    least = (*least, *([WHO_MAY] if name in CHECKED else []))
    await asyncio.gather(*(hop.call(method, target, data, headers) for headers in callers))
    # Points in time are closed behind the answers.
    await until_true(
        lambda: not any(Counter(least) - Counter(asked(hop.noted, each)) for each in callers[:2]),
        f"{least} of each",
    )
    passed = hop.passed()
    strangers = [each for each in passed if identity(each.headers) not in map(identity, callers)]
    assert not strangers
    assert all(asked(passed, headers) for headers in callers)


async def test_searches_of_two_callers_are_never_sent_together(
    hop: Hop, callers: list[dict[str, str]]
) -> None:
    """Each `_msearch` has the searches of one client's request."""
    two = callers[:2]
    statuses = await asyncio.gather(
        *(hop.call("POST", "/who/_msearch", lines(RERANK, RERANK), headers) for headers in two * 5)
    )
    assert statuses == [200] * 10
    sent = [each for each in hop.passed() if each.path == "/_msearch"]
    assert [len(asked(sent, headers)) for headers in two] == [5, 5]
    assert len(sent) == 10


async def test_the_question_about_an_origin_is_the_edges_own(hop: Hop, callers: list[dict[str, str]]) -> None:
    headers = {**callers[0], "Origin": "https://shop.example.com"}
    await hop.call("POST", "/who/_search", body(RERANK), headers)
    questions = [each for each in hop.passed() if not identity(each.headers)]
    assert [(each.method, each.path) for each in questions] == [("OPTIONS", "/")]
