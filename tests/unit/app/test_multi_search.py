"""Many searches at once: what is counted, and what fails together."""

import json
from collections.abc import Callable
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from rerank_proxy.app.apis.multi_search import MultiSearchRun, RenderedItem
from rerank_proxy.app.metrics import SearchMetrics
from rerank_proxy.errors import error
from rerank_proxy.observe.outcome import Applied, Several, Skipped
from rerank_proxy.search.executor import Executor
from rerank_proxy.search.msearch.coalescing import Coalescer
from rerank_proxy.search.msearch.lines import Item
from rerank_proxy.search.run import InnerBytes, SearchAnswer
from rerank_proxy.search.timings import Timings
from rerank_proxy.upstream.protocol import Reply, Upstream, UpstreamRefusedError
from rerank_proxy.xcontent.params import parse_params
from tests.support.searches import request

FAILED = b'{"error":{"type":"x","reason":"y"},"status":404}'


class Searches:
    """In the place of the executor: runs the step that belongs to a request's index."""

    def __init__(self, **steps: Callable[[], SearchAnswer]) -> None:
        self.steps = steps

    async def run(
        self, search: Any, upstream: Upstream, inner: InnerBytes, *, afterwards: Upstream
    ) -> SearchAnswer:
        await upstream.request("POST", "/_search", b"{}")
        return self.steps[search.index]()


class Echo:
    caller = b"the test"

    async def request(self, method: str, target: str, body: bytes) -> Reply:
        number = body.count(b"\n") // 2
        answer = {"took": 1, "responses": [{"took": 1, "_shards": {}, "hits": {}, "status": 200}] * number}
        headers = [("content-type", "application/json"), ("warning", "of upstream")]
        return Reply(200, headers, json.dumps(answer).encode())


def found(outcome: Applied | Skipped, warning: str | None = None) -> SearchAnswer:
    headers = [("Warning", warning)] if warning else []
    return SearchAnswer(b'{"took":1}', headers, outcome, Timings())


def failing(failure: Exception) -> Callable[[], SearchAnswer]:
    def fail() -> SearchAnswer:
        raise failure

    return fail


APPLIED = Applied("e", "m", 1, 1, 0, 0, 1.0, "text")
SKIPPED = Skipped("e", "r")


def running(**steps: Callable[[], SearchAnswer]) -> MultiSearchRun:
    executor = cast("Executor", Searches(**steps))
    return MultiSearchRun(executor, Coalescer(Echo(), ""), parse_params(""), None)


def search(index: str) -> Any:
    return request({"retriever": {"text_similarity_reranker": RERANKER}}, index=index)


RERANKER = {"retriever": {"standard": {}}, "field": "text", "inference_text": "q"}


async def test_each_item_is_counted_and_answered_in_its_place() -> None:
    run = running(
        applied=lambda: found(APPLIED),
        skipped=lambda: found(SKIPPED, "of a search"),
        refused=failing(UpstreamRefusedError(Reply(404, (), FAILED))),
        failed=failing(error(503, "x", "y")),
    ).run
    items: list[RenderedItem] = [Item(b"{}", b"{}"), error(400, "x", "y"), Reply(404, (), FAILED)]
    items += [search(index) for index in ("applied", "skipped", "refused", "failed")]
    answer = await run(items)
    assert [item["status"] for item in json.loads(answer.body)["responses"]] == [
        200, 400, 404, 200, 200, 404, 503,
    ]  # fmt: skip
    assert answer.outcome == Several({3: APPLIED, 4: SKIPPED})
    assert list(answer.headers) == [
        ("content-type", "application/json"),
        ("Warning", "of upstream"),
        ("Warning", "of a search"),
    ]
    registry = CollectorRegistry()
    SearchMetrics(registry).answered(answer)
    # Whether a template that could not be rendered would have reranked cannot be known.
    for outcome, number in (("applied", 1), ("skipped", 1), ("rejected", 2), ("failed", 1)):
        counted = registry.get_sample_value("rerank_proxy_searches_total", {"outcome": outcome})
        assert counted == number, outcome


@pytest.mark.parametrize(
    "failure",
    [
        UpstreamRefusedError(Reply(401, (), b'{"error":{"type":"x","reason":"y"},"status":401}')),
        UpstreamRefusedError(Reply(404, (), b"<html>")),
        RuntimeError("a defect"),
    ],
)
async def test_what_fails_the_whole_request(failure: Exception) -> None:
    run = running(good=lambda: found(APPLIED), bad=failing(failure)).run
    with pytest.raises(type(failure)) as raised:
        await run([search("good"), search("bad")])
    if isinstance(failure, UpstreamRefusedError):
        assert cast("UpstreamRefusedError", raised.value).reply is failure.reply


async def test_no_request_and_no_headers() -> None:
    answer = await running().run([error(404, "x", "y")])
    assert isinstance(json.loads(answer.body)["responses"][0]["error"], dict)
    assert answer.headers == []
