"""What goes wrong around a reranked search, and what the client is told: always in Elasticsearch's shape."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from rerank_proxy.engine import DeadlineExceededError, ModelFailedError, QueueFullError
from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.support.raw_http import TIMEOUT_S, Serve, Wire, answering, connect, raw_server
from tests.support.retrievers import rrf
from tests.support.search_app import TWO_STAGES, Answer, SearchApp, search_app
from tests.support.searches import KNN, QUERY, STANDARD, reranking

BOTH_PATHS = pytest.mark.parametrize("path", ["", TWO_STAGES], ids=["one search", "point in time"])
MAPPING = {
    "properties": {
        "text": {"type": "text"},
        "v": {"type": "dense_vector", "dims": 2},
    }
}
"""of the index of `crimes`"""

CRIMES: Final = [{"text": f"crime {n}", "v": [1, n]} for n in range(1, 9)]
UNREADABLE: Final = ("_source", "_seq_no", "_field_names", "_nested_path", "_data_stream_timestamp")
"""Fields whose values Elasticsearch does not give."""


@pytest.fixture
async def app(elasticsearch: RunningElasticsearch) -> AsyncIterator[SearchApp]:
    async with search_app(elasticsearch.url) as serving:
        yield serving


@pytest.fixture
def crimes(make_index: MakeIndex) -> str:
    documents = [{"text": f"crime {n}", "v": [1, n]} for n in range(1, 5)]
    return make_index([*documents, {"v": [0, 1]}], mappings=MAPPING)


def wrapper(name: str) -> str:
    return (
        f"[text_similarity_reranker] search failed - retrievers '[{name}]' returned errors. "
        "All failures are attached as suppressed exceptions."
    )


class TestInference:
    @BOTH_PATHS
    @pytest.mark.parametrize(("child", "name"), [(STANDARD, "standard"), (KNN, "knn")])
    async def test_an_unknown_endpoint(
        self, app: SearchApp, crimes: str, path: str, child: Any, name: str
    ) -> None:
        answer = await app.search(crimes, reranking(child, inference_id="nope"), path)
        assert answer.status == 404
        assert answer.json() == {
            "error": {
                "root_cause": [
                    {
                        "type": "status_exception",
                        "reason": wrapper(name),
                        "suppressed": [
                            {
                                "type": "search_phase_execution_exception",
                                "reason": "Computing updated ranks for results failed",
                                "phase": "rank-feature",
                                "grouped": True,
                                "failed_shards": [],
                            }
                        ],
                    }
                ],
                "type": "status_exception",
                "reason": wrapper(name),
                "suppressed": [
                    {
                        "type": "search_phase_execution_exception",
                        "reason": "Computing updated ranks for results failed",
                        "phase": "rank-feature",
                        "grouped": True,
                        "failed_shards": [],
                        "caused_by": {
                            "type": "resource_not_found_exception",
                            "reason": "Inference endpoint not found [nope]",
                        },
                    }
                ],
            },
            "status": 404,
        }
        assert answer.headers["X-elastic-product"] == "Elasticsearch"
        assert answer.headers["content-type"] == "application/json"
        assert "X-Rerank" not in answer.headers

    @pytest.mark.parametrize(
        ("failure", "status", "type_"),
        [
            (DeadlineExceededError("late"), 429, "status_exception"),
            (QueueFullError("full"), 429, "es_rejected_execution_exception"),
            (ModelFailedError("no such file"), 500, "status_exception"),
        ],
    )
    @BOTH_PATHS
    async def test_a_failure_of_the_model(
        self, app: SearchApp, crimes: str, path: str, failure: Exception, status: int, type_: str
    ) -> None:
        app.engine.failure = failure
        answer = await app.search(crimes, reranking(), path)
        assert answer.status == answer.json()["status"] == status
        error = answer.json()["error"]
        assert error["reason"] == wrapper("standard")
        assert error["suppressed"][0]["caused_by"]["type"] == type_
        assert str(failure) in answer.cause["reason"]

    @BOTH_PATHS
    async def test_failures_may_be_allowed(self, app: SearchApp, crimes: str, path: str) -> None:
        """First-stage order, documents without text too, scored by rank."""
        app.engine.failure = QueueFullError("full")
        body = reranking(
            {"standard": {"query": {"match_all": {}}}}, allow_rerank_failures=True, rank_window_size=4
        )
        answer = await app.search(crimes, body, path)
        assert answer.ids == ["0", "1", "2", "3"]
        assert answer.scores == [1.0, 0.5, 0.33333334, 0.25]
        assert answer.total == {"value": 5, "relation": "eq"}
        assert answer.headers["X-Rerank"] == (
            "skipped; endpoint=.rerank-v1-elasticsearch; reason=es_rejected_execution_exception"
        )
        body = reranking(allow_rerank_failures=True, min_score=0.5, inference_id="no\nsuch é " + "x" * 9000)
        answer = await app.search(crimes, body, path)
        assert answer.scores == [1.0, 0.5]
        assert answer.total == {"value": 2, "relation": "eq"}
        assert answer.headers["X-Rerank"].startswith("skipped; endpoint=no_such___xxx")

    @BOTH_PATHS
    async def test_one_header_tells_of_allowed_failures(self, app: SearchApp, crimes: str, path: str) -> None:
        """Nothing in the body tells them from scores; a `Warning` would make strict clients fail."""
        app.engine.failure = ModelFailedError("no such file")
        answer = await app.search(crimes, reranking(allow_rerank_failures=True), path)
        assert answer.headers["X-Rerank"].startswith("skipped; ")
        assert "Warning" not in answer.headers
        app.engine.failure = None
        answer = await app.search(crimes, reranking(allow_rerank_failures=True), path)
        assert answer.headers["X-Rerank"].startswith("applied; ")

    async def test_the_settings_may_allow_them(
        self, elasticsearch: RunningElasticsearch, crimes: str
    ) -> None:
        """To retrievers that do not say."""
        async with search_app(elasticsearch.url, allow_rerank_failures=True) as app:
            app.engine.failure = QueueFullError("full")
            assert (await app.search(crimes, reranking())).scores == [1.0, 0.5, 0.33333334, 0.25]
            refused = await app.search(crimes, reranking(allow_rerank_failures=False))
            assert refused.status == 429

    @BOTH_PATHS
    async def test_every_reranker_of_a_tree_is_told(self, app: SearchApp, crimes: str, path: str) -> None:
        inner = reranking(inference_id="nope", allow_rerank_failures=True)["retriever"]
        answer = await app.search(crimes, reranking(inner), path)
        assert answer.ids == ["3", "2", "1", "0"]
        first, second = answer.headers["X-Rerank"].split(", ")
        assert first == "skipped; endpoint=nope; reason=resource_not_found_exception"
        assert second.startswith("applied; endpoint=.rerank-v1-elasticsearch; ")

    async def test_allowing_them_does_not_cover_the_search(self, app: SearchApp, crimes: str) -> None:
        body = reranking({"standard": {"query": {"bogus": {}}}}, allow_rerank_failures=True)
        assert (await app.search(crimes, body)).status == 400


class TestInnerSearches:
    @BOTH_PATHS
    async def test_a_missing_index(
        self, app: SearchApp, elasticsearch: RunningElasticsearch, path: str
    ) -> None:
        answer = await app.search("none-such", reranking(), path)
        direct = elasticsearch.server.call("POST", "/none-such/_search", {"query": QUERY})
        assert (answer.status, answer.body) == (direct.status, direct.body)
        assert answer.headers["X-elastic-product"] == "Elasticsearch"
        ignored = await app.search("none-such", reranking(), f"ignore_unavailable=true&{path}")
        assert ignored.hits == []

    @BOTH_PATHS
    async def test_a_query_that_elasticsearch_refuses(self, app: SearchApp, crimes: str, path: str) -> None:
        children: list[Any] = [{"query": {"bogus": {}}}, {"query": QUERY, "filter": ["x"] * 12}]
        for child in children:
            answer = await app.search(crimes, reranking({"standard": child}), path)
            assert answer.status == 400
            assert answer.json()["error"]["root_cause"][0]["type"] == "parsing_exception"
        assert app.engine.asked == []

    @BOTH_PATHS
    async def test_a_huge_window(self, app: SearchApp, crimes: str, path: str) -> None:
        answer = await app.search(crimes, reranking(rank_window_size=10_001), path)
        assert answer.status == 400
        assert answer.json()["error"]["reason"] == wrapper("standard")
        assert "Result window is too large" in answer.cause["reason"]
        largest = await app.search(crimes, reranking(rank_window_size=10_000), path)
        assert largest.ids == ["3", "2", "1", "0"]

    async def test_a_page_too_far(self, app: SearchApp, crimes: str) -> None:
        answer = await app.search(crimes, {**reranking(), "from": 10_001})
        assert answer.status == 400
        assert "Result window is too large" in answer.json()["error"]["root_cause"][0]["reason"]
        assert (await app.search(crimes, {**reranking(), "from": 9_000})).hits == []

    @BOTH_PATHS
    @pytest.mark.every_version
    @pytest.mark.parametrize("field", UNREADABLE)
    @pytest.mark.parametrize("shards", [1, 2])
    async def test_a_field_that_cannot_be_read(
        self,
        app: SearchApp,
        elasticsearch: RunningElasticsearch,
        make_index: MakeIndex,
        path: str,
        field: str,
        shards: int,
    ) -> None:
        """By the retriever that wants it, in its own phase, after what is below it."""
        index = make_index(CRIMES, mappings=MAPPING, settings={"number_of_shards": shards})
        shown = {"fields": [field], "_source": False}
        direct = elasticsearch.server.call("POST", f"/{index}/_search", {"query": QUERY, **shown})
        failure = json.loads(direct.body)["error"]
        failure.pop("root_cause")
        assert failure["reason"] == "all shards failed"
        failure["phase"] = "rank-feature"
        unread = reranking(field=field)["retriever"]
        trees = [
            (unread, "standard"),
            (reranking(unread)["retriever"], "standard"),
            (rrf(STANDARD, unread), "standard"),
            (reranking(reranking()["retriever"], field=field)["retriever"], "rank_docs_retriever"),
            (reranking(rrf(STANDARD, STANDARD), field=field)["retriever"], "rank_docs_retriever"),
            (reranking(unread, field=UNREADABLE[0])["retriever"], "standard"),
        ]
        for tree, child in trees:
            answer = await app.search(index, {"retriever": tree}, path)
            assert answer.status == direct.status
            assert answer.json()["error"]["reason"] == wrapper(child)
            (told,) = answer.json()["error"]["suppressed"]
            assert told == failure
        nothing: Any = {"standard": {"query": {"match_none": {}}}}
        for tree in (reranking(nothing, field=field), reranking(rrf(nothing, nothing), field=field)):
            assert (await app.search(index, tree, path)).hits == []

    @BOTH_PATHS
    async def test_a_field_that_some_shards_cannot_be_asked_for(
        self, app: SearchApp, make_index: MakeIndex, path: str
    ) -> None:
        """Their documents are missed there, and nowhere below."""
        index = make_index(CRIMES, mappings=MAPPING, settings={"number_of_shards": 2})
        one = {"standard": {"query": {"ids": {"values": ["1"]}}}}
        answer = await app.search(index, reranking(reranking(one)["retriever"], field="_source"), path)
        assert (answer.hits, answer.total["value"]) == ([], 1)
        texts = len(app.engine.asked)
        assert texts > 0

    @BOTH_PATHS
    async def test_an_empty_window(self, app: SearchApp, crimes: str, path: str) -> None:
        answer = await app.search(crimes, reranking(rank_window_size=0), path)
        assert answer.status == 400
        assert "[rank] requires [size] greater than [0]" in answer.json()["error"]["reason"]

    @BOTH_PATHS
    async def test_a_field_that_no_document_has(self, app: SearchApp, crimes: str, path: str) -> None:
        answer = await app.search(crimes, reranking(field="nope"), path)
        assert (answer.hits, answer.total) == ([], {"value": 4, "relation": "eq"})
        assert "scored=0;" in answer.headers["X-Rerank"]

    @BOTH_PATHS
    async def test_shards_that_fail_are_left_out(
        self, app: SearchApp, make_index: MakeIndex, path: str
    ) -> None:
        """The query fails in the index that takes `d` for a date."""
        good = make_index(
            [{"text": "crime 1", "d": "x"}], mappings={"properties": {"d": {"type": "keyword"}}}
        )
        bad = make_index(
            [{"text": "crime 2", "d": "2020-01-02"}], mappings={"properties": {"d": {"type": "date"}}}
        )
        child = {"standard": {"query": {"bool": {"must": QUERY, "filter": {"range": {"d": {"gte": "b"}}}}}}}
        answer = await app.search(f"{good},{bad}", reranking(child), path)
        assert [hit["_index"] for hit in answer.hits] == [good]
        shards = answer.json()["_shards"]
        assert (shards["total"], shards["failed"]) == (2, 1)
        refused = await app.search(
            f"{good},{bad}", {**reranking(child), "track_total_hits": False},
            f"allow_partial_search_results=false&{path}",
        )  # fmt: skip
        assert refused.status >= 400
        assert "failed to parse date field [b]" in refused.body.decode()
        every = await app.search(bad, reranking(child), path)
        assert every.status == 400
        assert every.json()["error"]["reason"] == wrapper("standard")
        (failed,) = every.json()["error"]["suppressed"]
        assert (failed["reason"], failed["phase"]) == ("all shards failed", "query")
        (shard,) = failed["failed_shards"]
        assert shard["index"] == bad
        assert "failed to parse date field [b]" in shard["reason"]["caused_by"]["reason"]
        (at_root,) = every.json()["error"]["root_cause"][0]["suppressed"]
        assert "caused_by" not in at_root
        assert "caused_by" not in at_root["failed_shards"][0]["reason"]

    async def test_options_that_only_the_final_search_reads(self, app: SearchApp, crimes: str) -> None:
        for body, query in (({"colapse": {}}, ""), ({"_source": 5, "fields": []}, ""), ({}, "foo=1")):
            answer = await app.search(crimes, {**reranking(), **body}, query)
            assert answer.status == 400
            assert answer.json()["error"]["root_cause"][0]["reason"]
        await app.executor.drain()


class TestBodies:
    @pytest.mark.parametrize(
        ("body", "type_", "reason"),
        [
            (
                b'{"retriever":{"text_similarity_reranker":{',
                "x_content_e_o_f_exception",
                "[1:43] Unexpected end of file",
            ),
            (
                json.dumps(reranking()).encode()[:-1] + b',"size":1,"size":2}',
                "x_content_parse_exception",
                "[1:178] Duplicate field 'size'",
            ),
            (
                b'{"retriever":{"text_similarity_reranker":{}}}',
                "illegal_argument_exception",
                "Required [retriever, inference_text, field]",
            ),
            (
                b'{"retriever":{"text_similarity_reranker":{"inference_text":"\xff"}}}',
                "x_content_parse_exception",
                "[1:60] [text_similarity_reranker] failed to parse field [inference_text]",
            ),
        ],
    )
    async def test_a_bad_body(
        self, app: SearchApp, crimes: str, body: bytes, type_: str, reason: str
    ) -> None:
        answer = await app.search(crimes, body)
        assert answer.status == answer.json()["status"] == 400
        error = answer.json()["error"]
        assert error["type"] == error["root_cause"][0]["type"] == type_
        assert error["reason"].startswith(reason)
        assert app.upstream.sent == []

    async def test_errors_may_be_pretty(self, app: SearchApp, crimes: str) -> None:
        answer = await app.search(crimes, b'{"retriever":{"text_similarity_reranker":{}}}', "pretty")
        assert answer.body.startswith(b'{\n  "error" : {\n    "root_cause" : [\n      {\n')
        assert answer.body.endswith(b'  "status" : 400\n}\n')

    async def test_coded_bodies(self, app: SearchApp, crimes: str) -> None:
        packed = gzip.compress(json.dumps(reranking()).encode())
        headers = {"Content-Encoding": "gzip"}
        assert (await app.search(crimes, packed, headers=headers)).ids == ["3", "2", "1", "0"]
        for broken in (packed[:-8] + bytes(8), packed[:-4] + bytes(4)):
            answer = await app.search(crimes, broken, headers=headers)
            assert answer.status == 400
            assert answer.json()["error"]["type"] == "zip_exception"

    async def test_a_large_body(self, app: SearchApp, crimes: str) -> None:
        """Beyond what is decoded and compressed on the event loop."""
        words = [f"word {number}" for number in range(50_000)]
        child = {"standard": {"query": {"bool": {"must": QUERY, "must_not": {"terms": {"text": words}}}}}}
        body = gzip.compress(json.dumps(reranking(child)).encode())
        answer = await app.search(crimes, body, headers={"Content-Encoding": "gzip"})
        assert answer.ids == ["3", "2", "1", "0"]

    @pytest.mark.parametrize(
        ("method", "target", "body"),
        [
            ("POST", "/{index}/_search", b'{"query":{"match":{"text":"text_similarity_reranker"}}}'),
            ("GET", "/{index}/_search?q=text_similarity_reranker", b""),
            ("POST", "/{index}/_msearch", b'{}\n{"query":{"term":{"a":"text_similarity_reranker"}}}\n'),
            ("POST", "/templates/_msearch", b'{}\n{"query":{"term":{"text_similarity_reranker":1}}}\n'),
            ("POST", "/{index}/_msearch", b"text_similarity_reranker\n"),
        ],
    )
    async def test_a_mention_is_passed_on(
        self, app: SearchApp, crimes: str, method: str, target: str, body: bytes
    ) -> None:
        answer = await app.call(method, target.replace("{index}", crimes), body)
        assert (answer.status, answer.headers["x-rerank-proxy"], answer.body) == (421, "pass", b"")
        assert app.upstream.sent == []

    @pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded"])
    async def test_media_types_that_elasticsearch_refuses_are_passed_on(
        self, app: SearchApp, crimes: str, media_type: str
    ) -> None:
        answer = await app.search(crimes, reranking(), headers={"Content-Type": media_type})
        assert answer.status == 421

    async def test_other_apis_say_that_they_do_not_rerank(self, app: SearchApp, crimes: str) -> None:
        requests = {"requests": [{"id": "a", "ratings": [], "request": reranking()}]}
        answer = await app.call("POST", f"/{crimes}/_rank_eval", requests)
        assert answer.status == 400
        assert answer.json()["error"]["type"] == "unsupported_operation_exception"
        assert "[text_similarity_reranker] in [_rank_eval]" in answer.json()["error"]["reason"]

    @pytest.mark.parametrize("header", ["Content-Type", "Accept"])
    async def test_smile_is_refused(self, app: SearchApp, crimes: str, header: str) -> None:
        answer = await app.search(crimes, reranking(), headers={header: "application/smile"})
        assert answer.status == 400
        assert answer.json()["error"]["type"] == "unsupported_operation_exception"
        assert "[application/smile] as the format" in answer.json()["error"]["reason"]

    async def test_headers_that_are_no_text(self, app: SearchApp, crimes: str) -> None:
        body = json.dumps(reranking()).encode()
        async with connect(urlsplit(app.url).port or 0) as wire:
            await wire.send(
                b"POST /%b/_search HTTP/1.1\r\nX-Opaque-Id: \xe9\r\nX-Odd: \xff\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (crimes.encode(), len(body), body)
            )
            answer = await wire.read_message()
        assert answer.status == 200
        assert b"\r\nX-Opaque-Id: \xe9\r\n" in answer.head


HEAD = b"HTTP/1.1 %d X\r\nX-elastic-product: Elasticsearch\r\ncontent-type: application/json\r\n%b\r\n"


def reply(status: int, body: bytes, headers: bytes = b"") -> bytes:
    length = b"content-length: %d\r\n" % len(body)
    return HEAD % (status, headers + length) + body


async def in_front_of(serve: Serve, body: Any, query: str = "", **settings: Any) -> Answer:
    async with (
        raw_server(serve) as upstream,
        search_app(f"http://127.0.0.1:{upstream.port}", **settings) as app,
    ):
        return await app.search("films", body, query)


class TestUpstream:
    """In front of servers that do what a real Elasticsearch cannot be made to do."""

    @pytest.mark.parametrize(
        ("status", "headers"),
        [
            (429, b"Retry-After: 3\r\n"),
            (503, b""),
            (401, b'WWW-Authenticate: Basic realm="x"\r\n'),
            (403, b""),
        ],
    )
    @BOTH_PATHS
    async def test_its_errors_are_the_clients(self, path: str, status: int, headers: bytes) -> None:
        body = b'{"error":{"type":"x","reason": "y"},"status":%d}' % status
        serve, _ = answering(reply(status, body, headers))
        answer = await in_front_of(serve, reranking(), path)
        assert (answer.status, answer.body) == (status, body)
        for line in headers.decode().splitlines():
            name, _, value = line.partition(": ")
            assert answer.headers[name] == value

    async def test_it_is_down(self) -> None:
        async with raw_server(answering(b"")[0]) as gone:
            pass
        async with search_app(f"http://127.0.0.1:{gone.port}") as app:
            answer = await app.search("films", reranking(), headers={"X-Opaque-Id": "7"})
        assert answer.status == answer.json()["status"] == 502
        assert "cannot connect to Elasticsearch at [" in answer.json()["error"]["reason"]
        assert answer.headers["X-elastic-product"] == "Elasticsearch"
        assert answer.headers["X-Opaque-Id"] == "7"

    @pytest.mark.parametrize(
        "answered",
        [
            b"",
            b"not http\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{",
        ],
    )
    async def test_it_breaks_off(self, answered: bytes) -> None:
        async def serve(wire: Wire) -> None:
            await wire.read_message()
            await wire.send(answered)

        answer = await in_front_of(serve, reranking())
        assert answer.status == 502
        assert answer.json()["error"]["type"] == "node_disconnected_exception"

    async def test_a_kept_connection_that_it_closed_is_not_the_clients_trouble(self) -> None:
        hits = (
            b'{"took":1,"_shards":{},"hits":{"total":{"value":0,"relation":"eq"},"max_score":null,"hits":[]}}'
        )
        answers = iter([reply(200, b'{"id":"p"}'), reply(200, hits), reply(200, hits), reply(200, b"{}")])

        async def serve(wire: Wire) -> None:
            """Each connection answers once and is closed when it is used again."""
            await wire.read_message()
            await wire.send(next(answers))
            await wire.read_message()

        answer = await in_front_of(serve, reranking(), TWO_STAGES)
        assert answer.hits == []

    @pytest.mark.parametrize(
        "body",
        [b"", b"<html>", b"[]", b"{}", b'{"hits":5}', b'{"hits":{"hits":[{}]}}', b'{"hits":{"hits":'],
    )
    @BOTH_PATHS
    async def test_it_is_no_elasticsearch(self, path: str, body: bytes) -> None:
        """The client's request is not to blame: no 4xx."""
        serve, _ = answering(reply(200, body))
        answer = await in_front_of(serve, reranking(), path)
        assert answer.status == 502
        assert "not as Elasticsearch does" in answer.json()["error"]["reason"]

    async def test_it_does_not_answer(self) -> None:
        async def serve(wire: Wire) -> None:
            await wire.read_message()
            await wire.ended()

        answer = await in_front_of(serve, reranking(), deadline_s=0.2)
        assert answer.status == 504
        assert answer.json()["error"]["reason"] == (
            "upstream did not answer [POST /films/_search] in time: [search.deadline_s: 0.2s] has passed"
        )

    async def test_its_answer_is_too_large(self) -> None:
        async def serve(wire: Wire) -> None:
            await wire.read_message()
            await wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            while True:
                await wire.send(b"10000\r\n" + bytes(0x10000) + b"\r\n")

        answer = await in_front_of(serve, reranking(), max_response="1MiB")
        assert answer.status == 400
        assert "[search.max_response: 1048576]" in answer.json()["error"]["reason"]

    async def test_it_compresses_unasked(self) -> None:
        hits = (
            b'{"took":1,"_shards":{},"hits":{"total":{"value":0,"relation":"eq"},"max_score":null,"hits":[]}}'
        )
        serve, requests = answering(reply(200, gzip.compress(hits), b"content-encoding: gzip\r\n"))
        answer = await in_front_of(serve, reranking())
        assert answer.hits == []
        assert requests[0].field("accept-encoding") is None

    async def test_warnings_of_all_searches_come_back_once(self) -> None:
        hits = (
            b'{"took":1,"_shards":{},"hits":{"total":{"value":0,"relation":"eq"},"max_score":null,"hits":[]}}'
        )
        shared, own = b'Warning: 299 ES "both"\r\n', b'Warning: 299 ES "final"\r\n'
        serve, requests = answering(
            reply(200, b'{"id":"p"}'),
            reply(200, hits, shared),
            reply(200, hits, shared + own),
            reply(200, b"{}"),
        )
        answer = await in_front_of(serve, reranking(), TWO_STAGES)
        assert answer.headers.getall("Warning") == ['299 ES "both"', '299 ES "final"']
        assert [request.first_line.split(b"?")[0].split(b" HTTP")[0] for request in requests] == [
            b"POST /films/_pit", b"POST /_search", b"POST /_search", b"DELETE /_pit",
        ]  # fmt: skip

    async def test_the_callers_headers_go_along_and_no_others(self) -> None:
        hits = (
            b'{"took":1,"_shards":{},"hits":{"total":{"value":0,"relation":"eq"},"max_score":null,"hits":[]}}'
        )
        serve, requests = answering(
            reply(200, b'{"id":"p"}'), reply(200, hits), reply(200, hits), reply(200, b"{}")
        )
        vendor = "application/vnd.elasticsearch+json; compatible-with=9"
        headers = {
            "Authorization": "ApiKey abc",
            "X-Opaque-Id": "7",
            "Accept": vendor,
            "Content-Type": vendor,
            "User-Agent": "me",
        }
        async with (
            raw_server(serve) as upstream,
            search_app(f"http://127.0.0.1:{upstream.port}") as app,
        ):
            answer = await app.search("films", reranking(), TWO_STAGES, headers=headers)
            await app.executor.drain()
        assert answer.hits == []
        assert len(requests) == 4
        for request in requests:
            for name, value in headers.items():
                # Elasticsearch refuses a media type beside no body.
                expected = value if request.body or name != "Content-Type" else None
                assert request.field(name) == expected
            sent = {line.partition(b":")[0].lower() for line in request.head.splitlines()[1:] if line}
            assert sent <= {
                b"host", b"authorization", b"x-opaque-id", b"accept", b"content-type", b"user-agent",
                b"content-length",
            }  # fmt: skip


class TestDisconnect:
    async def test_a_client_that_leaves_ends_its_search_upstream(self) -> None:
        asked, gone = asyncio.Event(), asyncio.Event()

        async def serve(wire: Wire) -> None:
            await wire.read_message()
            asked.set()
            await wire.ended()
            gone.set()

        async with (
            raw_server(serve) as upstream,
            search_app(f"http://127.0.0.1:{upstream.port}") as app,
        ):
            search = asyncio.create_task(app.search("films", reranking()))
            await asyncio.wait_for(asked.wait(), TIMEOUT_S)
            search.cancel()
            await asyncio.wait_for(gone.wait(), TIMEOUT_S)

    async def test_a_client_that_leaves_ends_its_scoring_and_its_point_in_time(
        self, elasticsearch: RunningElasticsearch, crimes: str
    ) -> None:
        asked, cancelled = asyncio.Event(), asyncio.Event()

        async def never() -> None:
            asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        async with search_app(elasticsearch.url) as app:
            app.engine.before = never
            search = asyncio.create_task(app.search(crimes, reranking(), TWO_STAGES))
            await asyncio.wait_for(asked.wait(), TIMEOUT_S)
            search.cancel()
            await asyncio.wait_for(cancelled.wait(), TIMEOUT_S)
        # the application has ended, and waited for what it had to close
        assert app.upstream.sent[-1] == "DELETE /_pit"

    async def test_a_client_that_leaves_while_a_point_in_time_is_opened_leaves_none_behind(self) -> None:
        asked, may_answer, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def serve(wire: Wire) -> None:
            request = await wire.read_message()
            if request.first_line.startswith(b"DELETE /_pit"):
                assert request.body == b'{"id":"p"}'
                await wire.send(reply(200, b"{}"))
                closed.set()
                return
            asked.set()
            await may_answer.wait()
            await wire.send(reply(200, b'{"id":"p"}'))

        async with raw_server(serve) as upstream, search_app(f"http://127.0.0.1:{upstream.port}") as app:
            search = asyncio.create_task(app.search("films", reranking(), TWO_STAGES))
            await asyncio.wait_for(asked.wait(), TIMEOUT_S)
            search.cancel()
            await asyncio.gather(search, return_exceptions=True)
            may_answer.set()
            await asyncio.wait_for(closed.wait(), TIMEOUT_S)


async def test_a_defect_of_ours_is_an_error_in_elasticsearchs_shape(
    app: SearchApp, crimes: str, caplog: pytest.LogCaptureFixture
) -> None:
    app.engine.failure = AssertionError("a defect")
    answer = await app.search(crimes, reranking())
    assert answer.status == 500
    assert answer.json()["error"]["reason"] == "rerank-proxy failed; its log has the details"
    assert "a defect" in caplog.text
    assert "a question" not in caplog.text
