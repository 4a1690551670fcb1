"""Spans of one request: they nest as what is done does, in tasks of any kind, and stay bounded."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.concurrency.tasks import side_by_side
from rerank_proxy.observe import stages
from rerank_proxy.observe.stages import Activity
from rerank_proxy.tracing import trace as trace_module
from tests.support.examples import examples
from tests.support.traces import (
    NOT_SAMPLED,
    PARENT,
    SAMPLED,
    TRACE,
    Traces,
    Tree,
    check_nesting,
    failed,
    named,
    trees,
)

Plan = list[tuple[str, Any]]
"""What is done: `block` with more in it, `later` a span of what is over, `tasks` side by side."""

_PLANS: st.SearchStrategy[Plan] = st.recursive(
    st.just([]),
    lambda plans: st.lists(
        st.one_of(
            st.tuples(st.just("block"), plans),
            st.tuples(st.just("later"), st.none()),
            st.tuples(st.just("tasks"), st.lists(plans, max_size=3)),
        ),
        max_size=4,
    ),
    max_leaves=12,
)


async def carry_out(plan: Plan) -> None:
    for kind, within in plan:
        began = stages.clock()
        await asyncio.sleep(0)
        if kind == "block":
            with stages.stage("score", "block"):
                await carry_out(within)
        elif kind == "later":
            span = stages.current().span
            assert span is not None
            span.child("later", began).end()
        else:
            await side_by_side(map(carry_out, within))


def expected(plan: Plan) -> list[Tree]:
    found: list[Tree] = []
    for kind, within in plan:
        if kind == "block":
            found.append(("block", expected(within)))
        elif kind == "later":
            found.append(("later", []))
        else:
            found += [tree for each in within for tree in expected(each)]
    return found


def ordered(tree: Sequence[Tree]) -> list[Any]:
    return sorted((name, ordered(below)) for name, below in tree)


@examples(1)
@given(_PLANS)
def test_they_nest_as_what_is_done(plan: Plan) -> None:
    async def run() -> None:
        root = traces.begin()
        await carry_out(plan)
        root.end()

    traces = Traces()
    asyncio.run(run())
    spans = traces.take()
    check_nesting(spans)
    assert ordered(trees(spans)) == ordered([("a request", expected(plan))])


async def test_they_go_together_when_the_request_is_answered() -> None:
    traces = Traces()
    root = traces.begin()
    with stages.stage("parse", "parse"):
        pass
    assert traces.take() == ()
    root.end()
    assert {span.name for span in traces.take()} == {"parse", "a request"}
    with stages.stage("score", "too late"):
        assert stages.current().span is not None
    root.end()
    assert traces.take() == ()
    stages.enter(Activity())


async def test_a_request_that_is_passed_on_leaves_none() -> None:
    traces = Traces()
    root = traces.begin()
    with stages.stage("parse", "parse"):
        pass
    root.drop()
    assert traces.take() == ()
    stages.enter(Activity())


async def test_they_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond that other servers continue the trace from the span around."""
    monkeypatch.setattr(trace_module, "MOST_SPANS", 3)
    traces = Traces()
    root = traces.begin()
    for _ in range(5):
        with stages.stage("score", "score") as block:
            assert block.span is not None
            headers = block.span.headers()
            block.span.set({"a": 1})
            block.span.event("b")
            block.span.fail("c")
            block.span.rename("score")
            block.span.child("below").end()
    assert headers == root.headers()
    root.end()
    spans = traces.take()
    assert len(spans) == 3
    assert (named(spans, "a request").attributes or {})["rerank_proxy.omitted_spans"] == 8
    stages.enter(Activity())


async def test_failures() -> None:
    traces = Traces()
    root = traces.begin()
    with pytest.raises(KeyError), stages.stage("score", "of a kind"):
        raise KeyError("a secret")
    with pytest.raises(asyncio.CancelledError), stages.stage("queue", "given up"):
        raise asyncio.CancelledError
    with stages.stage("queue", "told before") as block:
        assert block.span is not None
        block.span.fail("queue_full")
        block.span.fail("KeyError")
    root.end()
    spans = traces.take()
    assert failed(spans) == {"of a kind": "KeyError", "given up": "cancelled", "told before": "queue_full"}
    assert not any("a secret" in span.to_json() for span in spans)
    stages.enter(Activity())


async def test_what_may_outlive_the_request() -> None:
    traces = Traces()
    root = traces.begin()
    go = asyncio.Event()

    async def on() -> None:
        with stages.outliving("asynchronous search"):
            await go.wait()
            with stages.stage("score", "score"):
                pass

    task = asyncio.create_task(on())
    await asyncio.sleep(0)
    root.end()
    (first,) = traces.take()
    go.set()
    await task
    spans = [*traces.take(), first]
    check_nesting(spans)
    assert trees(spans) == [("a request", [("asynchronous search", [("score", [])])])]
    stages.enter(Activity())


def test_the_clients_context() -> None:
    traces = Traces(sample_ratio=0)

    def begin(*headers: tuple[bytes, bytes]) -> object:
        return traces.tracer.begin("POST", headers, stages.clock(), {})

    assert begin() is None
    assert begin((b"traceparent", NOT_SAMPLED.encode())) is None
    assert begin((b"traceparent", b"00-bad")) is None
    assert begin((b"traceparent", SAMPLED.encode()), (b"traceparent", SAMPLED.encode())) is None
    assert begin((b"Traceparent", SAMPLED.encode())) is not None
    root = traces.tracer.begin(
        "POST",
        [(b"traceparent", SAMPLED.encode()), (b"tracestate", b"a=1"), (b"tracestate", b"b=2")],
        stages.clock(),
        {},
    )
    assert root is not None
    assert root.trace_id == TRACE
    headers = root.headers()
    assert headers["traceparent"].startswith(f"00-{TRACE}-")
    assert PARENT not in headers["traceparent"]
    assert headers["tracestate"] == "a=1,b=2"


def test_the_ratio_can_change() -> None:
    traces = Traces(sample_ratio=0)
    settings = Traces.settings(sample_ratio=1)
    assert traces.tracer.begin("POST", (), 0.0, {}) is None
    traces.tracer.use(settings)
    assert traces.tracer.begin("POST", (), 0.0, {}) is not None
