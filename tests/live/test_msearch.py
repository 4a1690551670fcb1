"""`_msearch` with rerankers among its items, beside Elasticsearch's answer to the same without them."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from elasticsearch import AsyncElasticsearch, BadRequestError
from elasticsearch import __version__ as client_version

from rerank_proxy.engine import QueueFullError
from rerank_proxy.xcontent.pretty import pretty_print
from testbed import RunningElasticsearch
from testbed.http import Reply
from tests.live.conftest import MakeIndex
from tests.support.raw_http import TIMEOUT_S, Wire, answering, raw_server
from tests.support.search_app import Answer, SearchApp, search_app
from tests.support.searches import QUERY, STANDARD, reranking

PLAIN = {"query": QUERY, "sort": ["n"], "size": 2}
PIT = {"search_type": "query_then_fetch"}
"""A header that changes nothing for a client but makes the proxy use a point in time."""
RERANKED = ["4", "3", "2", "1", "0"]


@pytest.fixture
async def app(elasticsearch: RunningElasticsearch) -> AsyncIterator[SearchApp]:
    async with search_app(elasticsearch.url) as serving:
        yield serving
        await serving.executor.drain()


@pytest.fixture
def index(make_index: MakeIndex) -> str:
    return make_index(
        [{"text": f"crime {n}", "n": n, "odd": [1.10, 1e3]} for n in range(5)],
        settings={"number_of_shards": 2},
    )


def lines(*items: Any) -> bytes:
    """Write headers and bodies, one a line; bytes stay as they are."""
    return b"".join(
        (item if isinstance(item, bytes) else json.dumps(item).encode()) + b"\n" for item in items
    )


def native_lines(*items: Any) -> bytes:
    """Write the same lines without rerankers."""
    return lines(
        *(
            {**item, "retriever": STANDARD} if isinstance(item, dict) and "retriever" in item else item
            for item in items
        )
    )


def direct(elasticsearch: RunningElasticsearch, target: str, body: bytes) -> Reply:
    return elasticsearch.server.call("POST", target, body, headers={"Content-Type": "application/json"})


def items(answer: Answer) -> list[Any]:
    assert answer.status == 200, answer.body
    found: list[Any] = answer.json()["responses"]
    return found


def ids(item: Any) -> list[str]:
    assert item["status"] == 200, item
    return [hit["_id"] for hit in item["hits"]["hits"]]


def without_took(body: bytes) -> bytes:
    return re.sub(rb'"took"( ?: ?)\d+', rb'"took"\1_', body)


def upstream_calls(app: SearchApp) -> list[str]:
    return [re.sub(r"[?].*", "", sent).replace("/_pit", "/PIT") for sent in app.upstream.sent]


class TestAnswers:
    @pytest.mark.every_version
    @pytest.mark.parametrize("style", ["", "pretty"])
    @pytest.mark.parametrize("header", [{}, PIT], ids=["one search", "point in time"])
    async def test_each_item_is_what_it_is_alone(
        self, app: SearchApp, elasticsearch: RunningElasticsearch, index: str, style: str, header: Any
    ) -> None:
        body = lines({}, PLAIN, header, {**reranking(), "size": 3}, {"index": "none-such"}, PLAIN)
        answer = await app.call("POST", f"/{index}/_msearch?{style}", body)
        native = direct(
            elasticsearch, f"/{index}/_msearch?{style}", lines({}, PLAIN, {"index": "none-such"}, PLAIN)
        )
        alone = await app.search(index, {**reranking(), "size": 3})
        plain, reranked, failed = items(answer)
        assert [plain, failed] == [
            {**item, "took": plain["took"]} if "took" in item else item for item in native.json()["responses"]
        ]
        assert reranked == {**alone.json(), "took": reranked["took"], "status": 200}
        assert list(answer.json()) == ["took", "responses"]
        assert list(reranked) == [*alone.json(), "status"]
        assert answer.headers["content-type"] == native.headers["content-type"]
        if style:
            assert answer.body == pretty_print(answer.body) + b"\n"
        else:
            spliced = without_took(alone.body)[: -len(b"}")] + b',"status":200}'
            assert spliced in without_took(answer.body)
            assert b'"odd": [1.1, 1000.0]' in spliced

    async def test_one_request_for_each_stage(
        self, app: SearchApp, index: str, make_index: MakeIndex
    ) -> None:
        other = make_index([{"text": "crime 7"}])
        body = lines(
            *({}, PLAIN), *({}, reranking()), *(PIT, reranking()), *(PIT, reranking()),
            *({**PIT, "index": other}, reranking()),
        )  # fmt: skip
        answer = await app.call("POST", f"/{index}/_msearch", body)
        assert [ids(item) for item in items(answer)[1:]] == [RERANKED, RERANKED, RERANKED, ["0"]]
        await app.executor.drain()
        assert upstream_calls(app) == [
            f"POST /{index}/PIT",
            f"POST /{other}/PIT",
            "POST /_msearch",
            "POST /_msearch",
            "DELETE /PIT",
            "DELETE /PIT",
        ]

    async def test_what_happened_is_in_one_header(self, app: SearchApp, index: str) -> None:
        app.engine.failure = QueueFullError("full")
        body = lines({}, PLAIN, {}, reranking(allow_rerank_failures=True), {}, reranking())
        answer = await app.call("POST", f"/{index}/_msearch", body)
        assert [item["status"] for item in items(answer)] == [200, 200, 429]
        assert answer.headers["X-Rerank"] == (
            "skipped; item=1; endpoint=.rerank-v1-elasticsearch; reason=es_rejected_execution_exception"
        )
        assert "Warning" not in answer.headers

    @pytest.mark.parametrize(
        ("query", "first_total"),
        [
            ("rest_total_hits_as_int=true", 5),
            ("typed_keys&human&error_trace", {"value": 5, "relation": "eq"}),
        ],
    )
    @pytest.mark.parametrize("header", [{}, PIT], ids=["one search", "point in time"])
    async def test_options_of_all_items(
        self, app: SearchApp, index: str, query: str, first_total: Any, header: Any
    ) -> None:
        aggregated = {**reranking(), "aggs": {"n": {"sum": {"field": "n"}}}}
        body = lines(header, PLAIN, header, reranking(), header, aggregated)
        plain, reranked, summed = items(await app.call("POST", f"/{index}/_msearch?{query}", body))
        assert plain["hits"]["total"] == reranked["hits"]["total"] == first_total
        assert list(summed["aggregations"]) == (["sum#n"] if "typed_keys" in query else ["n"])

    @pytest.mark.parametrize("limit", [1, 2, 100])
    async def test_bounded_concurrency(self, app: SearchApp, index: str, limit: int) -> None:
        running = most = 0
        together = asyncio.Barrier(min(limit, 4))

        async def count() -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await together.wait()  # for as many as may run at once
            await asyncio.sleep(0)  # for one too many
            running -= 1

        app.engine.before = count
        body = lines(*[{}, reranking()] * 4)
        answer = await app.call("POST", f"/{index}/_msearch?max_concurrent_searches={limit}", body)
        assert [ids(item) for item in items(answer)] == [RERANKED] * 4
        assert most == min(limit, 4)
        assert all(f"max_concurrent_searches={limit}" in sent for sent in app.upstream.sent)

    async def test_a_get_and_a_body_in_the_url(self, app: SearchApp, index: str) -> None:
        body = lines({"index": index}, reranking())
        for method, target, sent in (
            ("GET", "/_msearch", body),
            ("POST", f"/_msearch/?source={quote(body)}&source_content_type=application/x-ndjson", b""),
        ):
            [item] = items(await app.call(method, target, sent))
            assert ids(item) == RERANKED


class TestHeaders:
    @pytest.mark.parametrize(
        "header",
        [b"", b"  \r", b"null", b"{}", b"5", b'{"index":"INDEX"}', b'{"indices":["INDEX","INDEX"]}'],
    )
    async def test_where_to_search(self, app: SearchApp, index: str, header: bytes) -> None:
        header = header.replace(b"INDEX", index.encode())
        [item] = items(await app.call("POST", f"/{index}/_msearch", lines(header, reranking())))
        assert ids(item) == RERANKED

    async def test_the_header_is_stronger_than_the_url(
        self, app: SearchApp, elasticsearch: RunningElasticsearch, index: str
    ) -> None:
        target = f"/none-such/_msearch?ignore_unavailable=true&allow_no_indices=true&index={index}"
        cases = [
            {},
            {"index": index},
            {"ignore_unavailable": False},
            {"index": "other", "ignoreUnavailable": "false"},
        ]
        body = [line for header in cases for line in (header, reranking())]
        ours = items(await app.call("POST", target, lines(*body)))
        native = direct(elasticsearch, target, native_lines(*body)).json()["responses"]
        assert [len(ids(item)) if item["status"] == 200 else item for item in ours] == [
            len(ids(item)) if item["status"] == 200 else item for item in native
        ]
        assert [item["status"] for item in ours] == [200, 200, 404, 404]

    @pytest.mark.parametrize("header", [{}, PIT], ids=["one search", "point in time"])
    async def test_routing(
        self, app: SearchApp, elasticsearch: RunningElasticsearch, index: str, header: Any
    ) -> None:
        """One of the two shards."""
        body = ({**header, "routing": "a"}, reranking(), header, reranking())
        for target in (f"/{index}/_msearch", f"/{index}/_msearch?routing=b"):
            ours = items(await app.call("POST", target, lines(*body)))
            native = direct(elasticsearch, target, native_lines(*body)).json()["responses"]
            assert [sorted(ids(item)) for item in ours] == [sorted(ids(item)) for item in native]
            assert [item["_shards"] for item in ours] == [item["_shards"] for item in native]

    async def test_the_clients_own_point_in_time(
        self, app: SearchApp, elasticsearch: RunningElasticsearch, index: str
    ) -> None:
        opened = elasticsearch.server.call("POST", f"/{index}/_pit?keep_alive=1m").json()["id"]
        body = {**reranking(), "pit": {"id": opened}}
        [item] = items(await app.call("POST", "/_msearch", lines({}, body)))
        assert ids(item) == RERANKED
        assert item["pit_id"]
        for target, header in ((f"/{index}/_msearch", {}), ("/_msearch", {"index": index, "routing": "a"})):
            ours = await app.call("POST", target, lines(header, body))
            native = direct(elasticsearch, target, native_lines(header, body))
            assert (ours.status, ours.json()) == (native.status, native.json())


BAD: dict[str, Any] = {"retriever": {"standard": {}}, "query": {"match_all": {}}}
SLICED = {"slice": {"id": 0, "max": 2}}


class TestRefusals:
    """One bad item is enough."""

    @pytest.mark.parametrize(
        "body",
        [
            [{}, reranking(), {"foo": 1}, PLAIN],
            [{"foo": 1}, reranking()],
            [{}, PLAIN, {"index": None}, reranking()],
            [{}, reranking(), [], PLAIN],
            [[], reranking()],
            [{}, reranking(), b'{"index":"a"', PLAIN],
            [b'{"index":"a"', reranking()],
            [{}, reranking(), {}, {"colapse": 1}],
            [{}, {**reranking(), "colapse": 1}],
            [PIT, {**reranking(), "colapse": 1}],
            [{}, PLAIN, {}, {**reranking(), "size": -1}],
            [{}, {"size": -1}, {}, {**reranking(), "from": -1}],
            [{}, {**reranking(), "from": -1}, {}, {"size": -1}],
            [{}, {**reranking(), "sort": ["n"]}, {}, {"from": -1}],
            [{}, {**reranking(), "sort": ["n"]}, {}, {**reranking(), **SLICED, "rescore": []}],
            [{}, BAD, {}, {**reranking(), "sort": ["n"]}, {}, SLICED, {}, {**BAD, **reranking()}],
            [{}, SLICED, {}, {**reranking(), "sort": ["n"]}],
            [{"search_type": "x"}, reranking()],
            [{"request_cache": "x"}, reranking()],
            [{"expand_wildcards": "x"}, PLAIN, {}, {**reranking(), "size": -1}],
            [{}, b"{", {}, reranking()],
            [{}, reranking(), {}, b""],
            [{}, reranking(), b'{"foo":1}'],
        ],
    )
    async def test_as_elasticsearch_words_it(
        self, app: SearchApp, elasticsearch: RunningElasticsearch, index: str, body: list[Any]
    ) -> None:
        ours = await app.call("POST", f"/{index}/_msearch", lines(*body))
        native = direct(elasticsearch, f"/{index}/_msearch", native_lines(*body))
        assert native.status == 400
        assert ours.status == 400
        assert without_positions(ours) == without_positions(native)

    async def test_the_last_line_has_no_end(
        self, app: SearchApp, elasticsearch: RunningElasticsearch, index: str
    ) -> None:
        body = [{}, reranking(), {}, PLAIN]
        ours = await app.call("POST", f"/{index}/_msearch", lines(*body)[:-1])
        native = direct(elasticsearch, f"/{index}/_msearch", native_lines(*body)[:-1])
        assert (ours.status, ours.body) == (native.status, native.body)
        assert app.upstream.sent == []

    @pytest.mark.parametrize(
        "query",
        ["max_concurrent_searches=0", "max_concurrent_searches=x", "foo=1", "size=99", "preference=x"],
    )
    async def test_the_url(
        self, app: SearchApp, elasticsearch: RunningElasticsearch, index: str, query: str
    ) -> None:
        body = [{"index": index}, reranking()]
        ours = await app.call("POST", f"/_msearch?{query}", lines(*body))
        native = direct(elasticsearch, f"/_msearch?{query}", native_lines(*body))
        assert (ours.status, ours.json()) == (native.status, native.json())
        assert ours.status == 400

    async def test_what_only_the_reranker_refuses(self, app: SearchApp, index: str) -> None:
        body = [{}, {**reranking(), "size": 11}, {}, SLICED, {}, {**reranking(rank_window_size=-1)}]
        answer = await app.call("POST", f"/{index}/_msearch", lines(*body))
        assert answer.json()["error"]["reason"] == (
            "Validation Failed: 1: [text_similarity_reranker] requires [rank_window_size: 10] be greater "
            "than or equal to [size: 11];2: [slice] can only be used with [scroll] or [point-in-time] "
            "requests;3: [rank_window_size] parameter cannot be negative, found [-1];"
        )
        assert all("_msearch" in sent or "size=-1" in sent for sent in app.upstream.sent)

    async def test_a_failure_at_run_time_is_its_items(
        self, app: SearchApp, elasticsearch: RunningElasticsearch, index: str
    ) -> None:
        body = [
            {"index": "none-such"}, reranking(),
            {**PIT, "index": "none-such"}, reranking(),
            {}, reranking(inference_id="nope"),
            PIT, reranking(inference_id="nope"),
            {}, reranking(),
        ]  # fmt: skip
        for query in ("", "?pretty"):
            answer = await app.call("POST", f"/{index}/_msearch{query}", lines(*body))
            missing, missing_pit, unknown, unknown_pit, fine = items(answer)
            alone = await app.search("none-such", reranking())
            assert missing == missing_pit == alone.json()
            alone = await app.search(index, reranking(inference_id="nope"))
            assert unknown == unknown_pit == alone.json()
            assert ids(fine) == RERANKED
            if query:
                assert answer.body == pretty_print(answer.body) + b"\n"

    async def test_all_fail(self, app: SearchApp) -> None:
        """No search was made: the headers are the proxy's own."""
        body = lines({**PIT, "index": "none-such"}, reranking())
        answer = await app.call("POST", "/_msearch", body, headers={"X-Opaque-Id": "7"})
        assert [item["status"] for item in items(answer)] == [404]
        assert answer.headers["X-elastic-product"] == "Elasticsearch"
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["X-Opaque-Id"] == "7"
        assert answer.headers["X-Rerank"] == "none"

    @pytest.mark.parametrize("status", [401, 429, 503])
    async def test_upstream_refuses_it_altogether(self, status: int) -> None:
        body = b'{"error":{"type":"x","reason":"y"},"status":%d}' % status
        head = b"HTTP/1.1 %d X\r\nX-elastic-product: Elasticsearch\r\ncontent-length: %d\r\n\r\n"
        serve, _ = answering(head % (status, len(body)) + body)
        async with raw_server(serve) as upstream, search_app(f"http://127.0.0.1:{upstream.port}") as app:
            sent = lines({}, PLAIN, {}, reranking())
            answer = await app.call("POST", "/a/_msearch", sent)
            assert (answer.status, answer.body) == (status, body)
            answer = await app.call("POST", "/a/_msearch", lines(PIT, reranking()))
            assert answer.status == (status if status == 401 else 200)

    async def test_it_is_down(self) -> None:
        async with raw_server(answering(b"")[0]) as gone:
            pass
        async with search_app(f"http://127.0.0.1:{gone.port}") as app:
            answer = await app.call("POST", "/a/_msearch", lines({}, PLAIN, {}, reranking()))
        assert answer.status == answer.json()["status"] == 502


@pytest.mark.parametrize(
    "body",
    [
        [{}, {"query": {"match": {"text": "text_similarity_reranker"}}}],
        [{"text_similarity_reranker": 1}, PLAIN],
        [{}, {"query": {"match": {"text": "\u00e9 retriever text_similarity_reranker"}}}, {}, PLAIN],
        [{}, {"retriever": STANDARD, "_source": "text_similarity_reranker"}],
        [b"text_similarity_reranker"],
    ],
)
async def test_a_mention_is_passed_on(app: SearchApp, index: str, body: list[Any]) -> None:
    answer = await app.call("POST", f"/{index}/_msearch", lines(*body))
    assert (answer.status, answer.headers["x-rerank-proxy"], answer.body) == (421, "pass", b"")
    assert app.upstream.sent == []


async def test_a_client_that_leaves_leaves_nothing_behind(
    elasticsearch: RunningElasticsearch, index: str
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
        body = lines(PIT, reranking(), PIT, reranking())
        request = asyncio.create_task(app.call("POST", f"/{index}/_msearch", body))
        await asyncio.wait_for(asked.wait(), TIMEOUT_S)
        request.cancel()
        await asyncio.wait_for(cancelled.wait(), TIMEOUT_S)
    # the application has ended, and waited for what it had to close
    assert upstream_calls(app) == [f"POST /{index}/PIT", "POST /_msearch", "DELETE /PIT"]


async def test_a_client_that_leaves_ends_its_search_upstream() -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def serve(wire: Wire) -> None:
        await wire.read_message()
        asked.set()
        await wire.ended()
        gone.set()

    async with raw_server(serve) as upstream, search_app(f"http://127.0.0.1:{upstream.port}") as app:
        body = lines({"index": "a"}, PLAIN, {"index": "a"}, reranking())
        request = asyncio.create_task(app.call("POST", "/_msearch", body))
        await asyncio.wait_for(asked.wait(), TIMEOUT_S)
        request.cancel()
        await asyncio.wait_for(gone.wait(), TIMEOUT_S)


async def test_the_official_client(app: SearchApp, elasticsearch: RunningElasticsearch, index: str) -> None:
    if elasticsearch.major < client_version[0]:
        pytest.skip(f"the installed client is for Elasticsearch {client_version[0]} and later")
    async with AsyncElasticsearch(app.url, max_retries=0) as client:
        answer = await client.msearch(index=index, searches=[{}, PLAIN, {}, reranking(), PIT, reranking()])
        assert [ids(item) for item in answer["responses"][1:]] == [RERANKED, RERANKED]
        with pytest.raises(BadRequestError) as refused:
            await client.msearch(index=index, searches=[{}, {**reranking(), "size": 99}])
        assert refused.value.error == "action_request_validation_exception"


def without_positions(answer: Answer | Reply) -> Any:
    """Remove positions, and what Jackson quotes of the body: both differ with the text around."""
    text = re.sub(rb'"(line|col)":\d+', rb'"\1":0', answer.body)
    text = re.sub(rb"\[\d+:\d+\]", b"[]", text)
    return json.loads(re.sub(rb"\\n at \[Source: .*?column: \d+\]", b"", text))["error"]


@pytest.mark.parametrize(
    "child",
    [
        {"standard": {"query": {"bogus": {}}}},
        {"standard": {"query": {"bool": {"must": [{"match": {"text": "é"}}, {"bogus": 1}]}}}},
        {"standard": {"query": QUERY, "filter": [{"bogus": {}}]}},
        {"standard": {"query": QUERY, "sort": [{"n": {"bogus": 1}}]}},
    ],
)
async def test_what_only_upstream_can_read_has_the_clients_positions(
    elasticsearch: RunningElasticsearch, index: str, child: dict[str, Any]
) -> None:
    rescore = {"query": {"rescore_query": QUERY}}
    items = [
        {"index": index},
        {"query": QUERY},
        {},
        {"retriever": {"rescorer": {"retriever": child, "rescore": rescore}}},
    ]
    body = lines(*items)
    headers = {"Content-Type": "application/x-ndjson"}
    async with search_app(elasticsearch.url, evaluate={"rescorer"}) as app:
        ours = await app.call("POST", f"/{index}/_msearch", body, headers=headers)
        async with app.session.post(
            f"{elasticsearch.url}/{index}/_msearch", data=body, headers=headers
        ) as reply:
            assert (ours.status, ours.json()) == (reply.status, await reply.json())
    assert ours.status == 400
