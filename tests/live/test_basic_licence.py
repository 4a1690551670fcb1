"""In front of an Elasticsearch that knows what its licence does not allow, the proxy evaluates it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from rerank_proxy.http import handover
from rerank_proxy.upstream import abilities
from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.support.basic_licence import DEFAULTS, EVALUATED, BasicLicence, with_basic_licence
from tests.support.endpoints import MemoryStore, local_endpoints
from tests.support.proxied import proxied
from tests.support.search_app import ENDPOINT, Answer, NumberAtTheEnd, SearchApp, search_app
from tests.support.searches import reranking
from tests.support.templates import with_templates

JSON = dict[str, Any]

ALL: Final[JSON] = {"standard": {"query": {"match_all": {}}}}
RRF: Final[JSON] = {"rrf": {"retrievers": [ALL, ALL]}}
LINEAR: Final[JSON] = {"linear": {"retrievers": [{"retriever": ALL, "weight": 2.0}]}}
PINNED: Final[JSON] = {"pinned": {"ids": ["1"], "retriever": ALL}}
RULE: Final[JSON] = {"rule": {"ruleset_ids": ["r"], "match_criteria": {"q": "x"}, "retriever": ALL}}
RESCORE: Final[JSON] = {"query": {"rescore_query": {"match_all": {}}}}

TREES: Final[dict[str, tuple[JSON, str]]] = {
    "rrf": (RRF, "rrf"),
    "linear": (LINEAR, "linear"),
    "linear over rrf": ({"linear": {"retrievers": [{"retriever": RRF}]}}, "linear+rrf"),
    "pinned over rrf": ({"pinned": {"ids": ["1"], "retriever": RRF}}, "pinned+rrf"),
    "rrf over pinned": ({"rrf": {"retrievers": [PINNED, ALL]}}, "rrf+pinned"),
    "rescorer over rrf": ({"rescorer": {"retriever": RRF, "rescore": RESCORE}}, "rescorer+rrf"),
}


@pytest.fixture
async def basic(elasticsearch: RunningElasticsearch) -> AsyncIterator[BasicLicence]:
    async with with_basic_licence(elasticsearch.url) as licence:
        yield licence


@pytest.fixture
async def app(basic: BasicLicence) -> AsyncIterator[SearchApp]:
    async with search_app(basic.url) as running:
        yield running


@pytest.fixture
def index(make_index: MakeIndex) -> str:
    return make_index([{"text": f"a {n}"} for n in range(3)])


def lines(*bodies: JSON) -> bytes:
    return b"".join(b"{}\n" + json.dumps(body).encode() + b"\n" for body in bodies)


def is_upstreams(answer: Answer) -> bool:
    return answer.status == 421 and answer.headers[handover.HEADER] in (handover.PASS, handover.TRY)


class TestSearches:
    @pytest.mark.parametrize(("tree", "shown"), TREES.values(), ids=TREES.keys())
    async def test_what_is_refused_is_evaluated_as_what_is_unknown(
        self, app: SearchApp, elasticsearch: RunningElasticsearch, index: str, tree: JSON, shown: str
    ) -> None:
        answer = await app.search(index, {"retriever": tree})
        assert answer.headers["X-Rerank"] == f"evaluated; retrievers={shown}"
        async with search_app(elasticsearch.url) as beside:  # which knows none of them
            unknown = await beside.search(index, {"retriever": tree})
        assert answer.without_took == unknown.without_took
        assert answer.ids

    @pytest.mark.parametrize("tree", [PINNED, RULE, {"rule": {**RULE["rule"], "retriever": RRF}}])
    async def test_what_it_answers_itself_is_left_to_it(self, app: SearchApp, index: str, tree: JSON) -> None:
        """Pinning takes no licence, and query rules are upstream's."""
        assert is_upstreams(await app.search(index, {"retriever": tree}))

    async def test_it_can_be_switched_off(self, basic: BasicLicence, index: str) -> None:
        async with search_app(basic.url, evaluate_unavailable_retrievers=False) as app:
            assert is_upstreams(await app.search(index, {"retriever": RRF}))

    async def test_with_a_licence_it_is_left_to_upstream(self, basic: BasicLicence, index: str) -> None:
        basic.licensed = True
        async with search_app(basic.url) as app:
            assert is_upstreams(await app.search(index, {"retriever": RRF}))

    async def test_a_reranker_needs_nothing_of_it(
        self, app: SearchApp, basic: BasicLicence, index: str
    ) -> None:
        answer = await app.search(index, reranking(RRF))
        assert answer.ids == ["2", "1", "0"]
        under = {"retriever": {"rrf": {"retrievers": [reranking(ALL)["retriever"], PINNED]}}}
        assert (await app.search(index, under)).status == 200
        assert "applied" in answer.headers["X-Rerank"]

    async def test_in_a_multi_search(self, app: SearchApp, index: str) -> None:
        body = lines({"retriever": RRF}, {"query": {"match_all": {}}}, {"retriever": LINEAR})
        answer = await app.call("POST", f"/{index}/_msearch", body)
        assert [each["status"] for each in answer.json()["responses"]] == [200] * 3
        assert answer.headers["X-Rerank"] == (
            "evaluated; item=0; retrievers=rrf, evaluated; item=2; retrievers=linear"
        )

    async def test_in_an_asynchronous_search(self, app: SearchApp, index: str) -> None:
        answer = await app.call("POST", f"/{index}/_async_search", {"retriever": RRF})
        assert len(answer.json()["response"]["hits"]["hits"]) == 3

    async def test_in_a_template(self, basic: BasicLicence, index: str) -> None:
        async with with_templates(basic.url) as templates, search_app(templates.url) as app:
            answer = await app.call("POST", f"/{index}/_search/template", {"source": {"retriever": RRF}})
            assert answer.headers["X-Rerank"] == "evaluated; retrievers=rrf"


async def test_through_the_edge_only_what_is_refused_is_kept_from_upstream(
    basic: BasicLicence, index: str, tmp_path: Path
) -> None:
    async with proxied(basic.url, tmp_path) as edge, aiohttp.ClientSession() as session:

        async def ask(body: JSON) -> tuple[Any, str | None]:
            url = f"http://{edge.address}/{index}/_search"
            async with session.post(url, json=body) as answer:
                return await answer.json(), answer.headers.get("X-Rerank")

        fused, outcome = await ask({"retriever": RRF})
        assert outcome == "evaluated; retrievers=rrf"
        assert len(fused["hits"]["hits"]) == 3
        assert await ask({"retriever": PINNED}) == (EVALUATED, None)
        refused, outcome = await ask({"retriever": RULE})
        assert (refused["error"]["reason"], outcome) == (
            "current license is non-compliant for [Query Rules]",
            None,
        )
        plain, outcome = await ask({"query": {"match_all": {}}})
        assert (len(plain["hits"]["hits"]), outcome) == (3, None)


async def test_a_licence_that_ends_is_noticed_by_the_search_that_it_would_have_refused(
    basic: BasicLicence, index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abilities, "_LOOKED_AT_AGAIN_S", 0.0)
    basic.licensed = True
    async with proxied(basic.url, tmp_path) as edge, aiohttp.ClientSession() as session:

        async def ask(api: str, data: bytes, **fields: str) -> tuple[int, str | None]:
            url = f"http://{edge.address}/{index}/{api}"
            headers = {"Content-Type": "application/json", **fields}
            async with session.post(url, data=data, headers=headers) as answer:
                return answer.status, answer.headers.get("X-Rerank")

        fused = json.dumps({"retriever": RRF}).encode()
        assert await ask("_search", fused) == (200, None)
        basic.licensed = False
        own = {"X-Rerank-Proxy": "a client's"}
        assert await ask("_search", fused, **own) == (200, "evaluated; retrievers=rrf")
        many = lines({"retriever": LINEAR})
        basic.licensed = True
        assert await ask("_msearch", many) == (200, None)
        basic.licensed = False
        assert await ask("_msearch", many) == (200, "evaluated; item=0; retrievers=linear")
        rule = json.dumps({"retriever": {"rule": {**RULE["rule"], "retriever": RRF}}}).encode()
        assert await ask("_search", rule) == (403, None)


class TestEndpoints:
    """Its own endpoints can be seen, and not used."""

    @pytest.fixture
    async def without(self, basic: BasicLicence) -> AsyncIterator[SearchApp]:
        """Serve without an endpoint in the settings."""
        endpoints = local_endpoints({}, NumberAtTheEnd(), store=MemoryStore())
        async with search_app(basic.url, endpoints=endpoints) as running:
            yield running

    @pytest.mark.parametrize("path", ["_inference", "_inference/_all"])
    async def test_lists_have_both_and_ours_hides_theirs(self, app: SearchApp, path: str) -> None:
        listed = {e["inference_id"]: e for e in (await app.call("GET", f"/{path}")).json()["endpoints"]}
        assert [*listed] == sorted(DEFAULTS)
        assert listed[ENDPOINT]["service_settings"]["model_id"] == "numbers"
        assert all(listed[name] == DEFAULTS[name] for name in listed if name != ENDPOINT)
        (one,) = (await app.call("GET", f"/_inference/{ENDPOINT}")).json()["endpoints"]
        assert one == listed[ENDPOINT]

    async def test_without_one_of_ours_theirs_is_shown(self, without: SearchApp) -> None:
        listed = (await without.call("GET", "/_inference/_all")).json()["endpoints"]
        assert listed == [DEFAULTS[name] for name in sorted(DEFAULTS)]
        for method, body in (("GET", b""), ("POST", {"query": "q", "input": "a 1"}), ("DELETE", b"")):
            assert is_upstreams(await without.call(method, f"/_inference/{ENDPOINT}", body))

    async def test_a_search_says_that_their_licence_refuses(
        self, without: SearchApp, index: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        answer = await without.search(index, reranking(ALL))
        assert answer.status == 403
        assert answer.cause == {
            "type": "security_exception",
            "reason": "current license is non-compliant for [inference]",
            "license.expired.feature": "inference",
        }
        (told,) = [each.getMessage() for each in caplog.records if "licence" in each.getMessage()]
        assert f"[{ENDPOINT}]" in told
        assert "[endpoints]" in told
        kept = await without.search(index, reranking(ALL, allow_rerank_failures=True))
        assert kept.headers["X-Rerank"].endswith("reason=security_exception")

    async def test_a_search_with_one_of_ours_never_asks_theirs(
        self, app: SearchApp, basic: BasicLicence, index: str
    ) -> None:
        assert (await app.search(index, reranking(ALL))).ids == ["2", "1", "0"]
        assert not [each for each in basic.asked if "_inference" in each]

    async def test_an_id_that_theirs_has_cannot_be_taken(self, without: SearchApp) -> None:
        new = {"service": "elasticsearch", "service_settings": {"model_id": "numbers"}}
        assert is_upstreams(await without.call("PUT", f"/_inference/rerank/{ENDPOINT}", new))
