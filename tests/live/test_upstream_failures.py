"""An upstream that fails, and clients that leave: what is told, and what is ended."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any

import pytest

from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.support.crime_indices import CRIME_MAPPING
from tests.support.raw_http import TIMEOUT_S, Serve, Wire, answering, raw_server
from tests.support.search_app import BOTH_PATHS, TWO_STAGES, Answer, SearchApp, search_app
from tests.support.searches import reranking


@pytest.fixture
async def app(elasticsearch: RunningElasticsearch) -> AsyncIterator[SearchApp]:
    async with search_app(elasticsearch.url) as serving:
        yield serving


@pytest.fixture
def crimes(make_index: MakeIndex) -> str:
    documents = [{"text": f"crime {n}", "v": [1, n]} for n in range(1, 5)]
    return make_index([*documents, {"v": [0, 1]}], mappings=CRIME_MAPPING)


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
            """Answer once on each connection, and close it when it is used again."""
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
    async def test_an_upstream_that_is_not_elasticsearch(self, path: str, body: bytes) -> None:
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


async def test_a_defect_of_the_proxy_is_an_error_in_elasticsearchs_shape(
    app: SearchApp, crimes: str, caplog: pytest.LogCaptureFixture
) -> None:
    app.engine.failure = AssertionError("a defect")
    answer = await app.search(crimes, reranking())
    assert answer.status == 500
    assert answer.json()["error"]["reason"] == "rerank-proxy failed; its log has the details"
    assert "a defect" in caplog.text
    assert "a question" not in caplog.text
