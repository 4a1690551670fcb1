"""Where upstream has an `_inference` API of its own, it goes on answering for its own endpoints."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from aiohttp import web

from rerank_proxy.http import handover
from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.support.relay import relay
from tests.support.search_app import ENDPOINT, TWO_STAGES, Answer, SearchApp, search_app
from tests.support.searches import reranking

ALL: Final[dict[str, Any]] = {"standard": {"query": {"match_all": {}}}}
NEW: Final = {
    "service": "elasticsearch",
    "service_settings": {"model_id": "numbers", "num_allocations": 1, "num_threads": 1},
}
OTHER_SERVICE: Final = {"service": "openai", "service_settings": {"api_key": "k", "model_id": "m"}}
EMBEDS: Final = b'{"inference_id": "embeds", "task_type":"text_embedding",\n "service":"openai", "x":1.50E+2}'
RERANKS: Final = {
    "inference_id": "z-theirs",
    "task_type": "rerank",
    "service": "cohere",
    "service_settings": {"model_id": "rerank-v3.5"},
    "task_settings": {},
}
CATALOGUE: Final = [
    {"service": "openai", "name": "OpenAI", "task_types": ["text_embedding"], "configurations": {}},
    {
        "service": "elasticsearch",
        "name": "Elasticsearch",
        "task_types": ["text_embedding"],
        "configurations": {"theirs": {}},
    },
]


class Licensed:
    """The `_inference` API of an Elasticsearch that has one.

    Attributes:
        endpoints: What is shown of each, as it is written.
        asked: Method, path and query, and body of each request but for those that look whether it is there.
        ranking: What a rerank endpoint answers, with its status.
    """

    def __init__(self, **endpoints: bytes) -> None:
        self.endpoints = {name.replace("_", "-"): raw for name, raw in endpoints.items()}
        self.asked: list[tuple[str, str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.ranking: tuple[int, Any] = (200, {"rerank": []})
        self.read_status = 200

    async def read(self, request: web.Request) -> web.Response:
        if self.read_status != 200:
            return web.json_response({"error": {"type": "security_exception"}}, status=self.read_status)
        inference_id = request.match_info.get("id", "_all")
        if inference_id == "_services":
            return web.json_response(CATALOGUE)
        found = [*self.endpoints.values()] if inference_id == "_all" else []
        if inference_id in self.endpoints:
            found = [self.endpoints[inference_id]]
        if not found and inference_id != "_all":
            return web.json_response({"error": {"type": "resource_not_found_exception"}}, status=404)
        type_ = request.match_info.get("type", "any").encode()
        found = [raw for raw in found if type_ in (b"any", b"_services") or b'"%s"' % type_ in raw]
        body = b'{"endpoints":[' + b",".join(found) + b"]}"
        return web.Response(body=body, content_type="application/json")

    async def run(self, request: web.Request) -> web.Response:
        self.headers.append(request.headers)
        self.asked.append((request.method, request.raw_path, await request.json()))
        status, body = self.ranking
        return web.json_response(body, status=status)

    async def services(self, request: web.Request) -> web.Response:
        return web.json_response(CATALOGUE)

    def routes(self) -> dict[tuple[str, str], Any]:
        return {
            ("GET", "/_inference"): self.read,
            ("GET", "/_inference/_services/{type}"): self.services,
            ("GET", "/_inference/{id}"): self.read,
            ("GET", "/_inference/{type}/{id}"): self.read,
            ("POST", "/_inference/rerank/{id}"): self.run,
        }


@pytest.fixture
def theirs() -> Licensed:
    return Licensed(embeds=EMBEDS, z_theirs=json.dumps(RERANKS).encode())


@pytest.fixture
async def app(elasticsearch: RunningElasticsearch, theirs: Licensed) -> AsyncIterator[SearchApp]:
    async with relay(elasticsearch.url, theirs.routes()) as url, search_app(url) as serving:
        yield serving


def is_upstreams(answer: Answer) -> bool:
    """Tell whether the edge is to send the request upstream as it came."""
    return answer.status == 421 and answer.headers[handover.HEADER] == "pass" and not answer.body


def ids(answer: Answer) -> list[str]:
    return [each["inference_id"] for each in answer.json()["endpoints"]]


class TestLists:
    async def test_are_merged_and_theirs_are_not_written_anew(self, app: SearchApp) -> None:
        await app.call("PUT", "/_inference/rerank/mine", NEW)
        for path in ("", "/_all", "/any/_all", "/_all?pretty"):
            answer = await app.call("GET", f"/_inference{path}")
            assert ids(answer) == [ENDPOINT, "embeds", "mine", "z-theirs"]
            assert EMBEDS in answer.body

    async def test_of_a_task_type(self, app: SearchApp) -> None:
        assert ids(await app.call("GET", "/_inference/rerank/_all")) == [ENDPOINT, "z-theirs"]
        assert ids(await app.call("GET", "/_inference/text_embedding/_all")) == ["embeds"]

    async def test_an_endpoint_of_the_proxy_hides_upstreams_of_the_same_id(
        self, app: SearchApp, theirs: Licensed
    ) -> None:
        theirs.endpoints[ENDPOINT] = json.dumps({**RERANKS, "inference_id": ENDPOINT}).encode()
        listed = (await app.call("GET", "/_inference")).json()["endpoints"]
        assert [each["service"] for each in listed if each["inference_id"] == ENDPOINT] == ["elasticsearch"]

    @pytest.mark.parametrize("status", [401, 403, 500, 503])
    async def test_who_may_not_read_theirs_sees_upstreams_refusal(
        self, app: SearchApp, theirs: Licensed, status: int
    ) -> None:
        theirs.read_status = status
        for path in ("_all", "_services"):
            answer = await app.call("GET", f"/_inference/{path}")
            assert answer.status == status
            assert answer.json() == {"error": {"type": "security_exception"}}

    async def test_catalogues_are_merged(self, app: SearchApp) -> None:
        (elasticsearch, openai) = (await app.call("GET", "/_inference/_services")).json()
        assert openai == CATALOGUE[0]
        assert elasticsearch == {**CATALOGUE[1], "task_types": ["text_embedding", "rerank"]}


class TestPassed:
    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("GET", "embeds", b""),
            ("GET", "text_embedding/embeds", b""),
            ("GET", "z-theirs", b""),
            ("GET", "nope", b""),
            ("GET", ".diagnostics", b""),
            ("GET", "brand_new_task/_all", b""),
            ("PUT", "text_embedding/new", OTHER_SERVICE),
            ("PUT", "new", {**OTHER_SERVICE, "task_type": "text_embedding"}),
            ("PUT", "rerank/new", OTHER_SERVICE),
            ("PUT", "sparse_embedding/new", NEW),
            ("PUT", "brand_new_task/new", NEW),
            ("PUT", "_ccm", {"enabled": True}),
            ("PUT", "embeds/_update", {"service_settings": {}}),
            ("PUT", "text_embedding/embeds/_update", {"service_settings": {}}),
            ("POST", "embeds", {"input": "x"}),
            ("POST", "text_embedding/embeds", {"input": "x"}),
            ("POST", "rerank/z-theirs", {"anything": "at all"}),
            ("POST", "chat_completion/chats/_stream", {"messages": []}),
            ("POST", "chats/_stream", {"messages": []}),
            ("DELETE", "embeds", b""),
            ("DELETE", "rerank/z-theirs?force=true", b""),
            ("PATCH", "embeds", b""),
            ("PUT", "_services", {"x": 1}),
        ],
    )
    async def test_what_the_proxy_does_not_serve(
        self, app: SearchApp, method: str, path: str, body: Any
    ) -> None:
        assert is_upstreams(await app.call(method, f"/_inference/{path}", body))

    async def test_endpoints_of_the_proxy_stay_with_it(self, app: SearchApp) -> None:
        assert (await app.call("PUT", "/_inference/rerank/mine", NEW)).status == 200
        assert ids(await app.call("GET", "/_inference/mine")) == ["mine"]
        assert (await app.call("POST", "/_inference/mine", {"query": "q", "input": "a 1"})).status == 200
        assert (await app.call("DELETE", "/_inference/mine")).status == 200
        assert is_upstreams(await app.call("DELETE", "/_inference/mine"))

    @pytest.mark.parametrize("path", ["rerank/embeds", "rerank/z-theirs"])
    async def test_an_id_is_there_once_over_both(self, app: SearchApp, path: str) -> None:
        answer = await app.call("PUT", f"/_inference/{path}", NEW)
        inference_id = path.partition("/")[2]
        assert answer.status == 400
        assert answer.json()["error"]["type"] == "resource_already_exists_exception"
        assert answer.cause["reason"] == f"Inference endpoint [{inference_id}] already exists"
        assert is_upstreams(await app.call("GET", f"/_inference/{inference_id}"))

    async def test_a_bad_request_for_a_service_of_the_proxy_is_refused_by_it(self, app: SearchApp) -> None:
        answer = await app.call("PUT", "/_inference/rerank/new", {"service": "elasticsearch"})
        assert answer.cause["reason"] == "Missing required field [service_settings]"

    async def test_a_caller_whose_headers_are_refused_does_not_decide_for_others(
        self, elasticsearch: RunningElasticsearch, theirs: Licensed
    ) -> None:
        """Elasticsearch refuses a version that it is not compatible with before it looks at the path."""

        async def read(request: web.Request) -> web.Response:
            if "compatible-with=7" in request.headers.get("Accept", ""):
                error = {"type": "media_type_header_exception", "reason": "Invalid media-type value"}
                return web.json_response({"error": {"root_cause": [error], **error}}, status=400)
            return await theirs.read(request)

        routes = {**theirs.routes(), ("GET", "/_inference/{id}"): read}
        old = "application/vnd.elasticsearch+json; compatible-with=7"
        async with relay(elasticsearch.url, routes) as url, search_app(url) as app:
            refused = await app.call("GET", "/_inference/nope", headers={"Accept": old, "Content-Type": old})
            assert is_upstreams(refused)
            assert is_upstreams(await app.call("GET", "/_inference/nope"))


class TestRetriever:
    """A retriever may name a rerank endpoint that only upstream has."""

    @pytest.fixture
    def index(self, make_index: MakeIndex) -> str:
        return make_index([{"text": "a"}, {"text": "b"}, {"text": "c"}])

    def search(self, **options: Any) -> dict[str, Any]:
        return reranking(ALL, inference_id="z-theirs", **options)

    @pytest.mark.parametrize("path", ["", TWO_STAGES])
    async def test_it_scores_in_the_callers_name(
        self, app: SearchApp, theirs: Licensed, index: str, path: str
    ) -> None:
        scores = [(1, 0.75), (2, 0.5), (0, -1.0)]
        theirs.ranking = (200, {"rerank": [{"index": i, "relevance_score": s} for i, s in scores]})
        answer = await app.search(index, self.search(), path, headers={"X-Team": "films"})
        assert answer.ids == ["1", "2", "0"]
        assert answer.scores == pytest.approx([1.75, 1.5, 0.36787945])
        assert "endpoint=z-theirs; model=rerank-v3.5; window=3; scored=3;" in answer.headers["X-Rerank"]
        body = {"query": "a question", "input": ["a", "b", "c"]}
        assert theirs.asked == [("POST", "/_inference/rerank/z-theirs", body)]
        assert theirs.headers[0]["X-Team"] == "films"
        assert app.engine.asked == []

    async def test_in_a_multi_search(self, app: SearchApp, theirs: Licensed, index: str) -> None:
        theirs.ranking = (200, {"rerank": [{"index": i, "relevance_score": i} for i in range(3)]})
        lines = [{"index": index}, self.search(), {"index": index}, self.search(rank_window_size=3)]
        body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        headers = {"Content-Type": "application/x-ndjson"}
        answer = await app.call("POST", "/_msearch", body, headers=headers)
        for response in answer.json()["responses"]:
            assert [hit["_id"] for hit in response["hits"]["hits"]] == ["2", "1", "0"]
        assert len(theirs.asked) == 2

    @pytest.mark.parametrize(
        ("status", "body", "cause"),
        [
            (
                403,
                {
                    "error": {
                        "root_cause": [],
                        "type": "security_exception",
                        "reason": "current license is non-compliant for [inference]",
                        "license.expired.feature": "inference",
                    },
                    "status": 403,
                },
                {
                    "type": "security_exception",
                    "reason": "current license is non-compliant for [inference]",
                    "license.expired.feature": "inference",
                },
            ),
            (
                429,
                {
                    "error": {
                        "type": "status_exception",
                        "reason": "x",
                        "caused_by": {"type": "y", "reason": "z"},
                    }
                },
                {"type": "y", "reason": "z"},
            ),
            (
                500,
                "no error",
                {
                    "type": "status_exception",
                    "reason": "upstream answered [POST /_inference/rerank/z-theirs] with status [500], and "
                    "not as Elasticsearch does",
                },
            ),
            (
                200,
                {"text_embedding": []},
                {
                    "type": "status_exception",
                    "reason": "upstream answered an inference for [z-theirs] with 200, but not as "
                    "Elasticsearch does: Object missing required field `rerank`",
                },
            ),
        ],
    )
    async def test_its_failures_are_the_rank_phases(
        self, app: SearchApp, theirs: Licensed, index: str, status: int, body: Any, cause: Any
    ) -> None:
        theirs.ranking = (status, body)
        answer = await app.search(index, self.search())
        assert answer.status == (502 if status == 200 else status)
        assert answer.cause == cause
        allowed = await app.search(index, self.search(allow_rerank_failures=True))
        assert allowed.ids == ["0", "1", "2"]
        assert allowed.headers["X-Rerank"].startswith("skipped; endpoint=z-theirs;")

    async def test_too_few_results(self, app: SearchApp, theirs: Licensed, index: str) -> None:
        theirs.ranking = (200, {"rerank": [{"index": 0, "relevance_score": "0.5"}]})
        answer = await app.search(index, self.search())
        assert answer.status == 500
        assert answer.cause["reason"].startswith("Expected ranked doc size to be 3, got 1.")

    @pytest.mark.parametrize("limit", ["top_n", "top_k"])
    async def test_its_limit_of_results(
        self, app: SearchApp, theirs: Licensed, index: str, limit: str
    ) -> None:
        theirs.endpoints["z-theirs"] = json.dumps({**RERANKS, "task_settings": {limit: 2}}).encode()
        answer = await app.search(index, self.search())
        assert answer.status == 400
        assert "is configured to return the top [2] results" in answer.cause["reason"]
        assert theirs.asked == []

    async def test_too_slow(self, elasticsearch: RunningElasticsearch, theirs: Licensed, index: str) -> None:
        answered = asyncio.Event()

        async def never(request: web.Request) -> web.Response:
            await answered.wait()
            return web.Response()

        async with (
            relay(elasticsearch.url, {**theirs.routes(), ("POST", "/_inference/rerank/{id}"): never}) as url,
            search_app(url, timeout_s=0.2) as app,
        ):
            answer = await app.search(index, self.search())
            answered.set()
        assert answer.status == 429
        assert "Request timed out after [0.2s] for inference id [z-theirs]" in answer.body.decode()
        assert answer.cause["reason"] == (
            "upstream did not answer in time: [search.timeout_s: 0.2s] has passed"
        )


@asynccontextmanager
async def with_pipelines(url: str, pipelines: Any, status: int = 200) -> AsyncIterator[SearchApp]:
    async def read(request: web.Request) -> web.Response:
        return web.json_response(pipelines, status=status)

    async with relay(url, {("GET", "/_ingest/pipeline"): read}) as address, search_app(address) as app:
        await app.call("PUT", "/_inference/rerank/mine", NEW)
        yield app


class TestReferences:
    PIPELINES: Final = {
        "b": {"processors": [{"set": {"field": "x"}}, {"inference": {"model_id": "mine", "if": "true"}}]},
        "a": {"processors": [{"foreach": {"field": "x", "processor": {"inference": {"model_id": "mine"}}}}]},
        "c": {"processors": [{"fail": {"on_failure": [{"inference": {"model_id": "mine"}}]}}]},
        "d": {"processors": [{"inference": {"model_id": "other"}}], "description": "mine"},
        "e": {"on_failure": [{"set": {"field": "model_id", "value": "mine"}}]},
    }
    REASON: Final = (
        "Inference endpoint mine is referenced by pipelines: [a, b, c]. Ensure that no pipelines are using "
        "this inference endpoint, or use force to ignore this warning and delete the inference endpoint."
    )

    async def test_an_endpoint_that_pipelines_name_stays(self, elasticsearch: RunningElasticsearch) -> None:
        async with with_pipelines(elasticsearch.url, self.PIPELINES) as app:
            dry_run = await app.call("DELETE", "/_inference/mine?dry_run=true")
            refused = await app.call("DELETE", "/_inference/mine")
            forced = await app.call("DELETE", "/_inference/mine?force=true")
        assert dry_run.json() == {
            "acknowledged": False,
            "pipelines": ["a", "b", "c"],
            "indexes": [],
            "error_message": self.REASON,
        }
        assert (refused.status, refused.cause["reason"]) == (409, self.REASON)
        assert forced.json() == {"acknowledged": True, "pipelines": [], "indexes": []}

    async def test_who_may_not_read_pipelines_may_delete(self, elasticsearch: RunningElasticsearch) -> None:
        async with with_pipelines(elasticsearch.url, {"error": {}}, 403) as app:
            answer = await app.call("DELETE", "/_inference/mine")
        assert answer.json()["acknowledged"] is True
