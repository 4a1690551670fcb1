"""Calls of remote services: each has a span, and the service does not learn of the trace."""

from typing import Any, Final

from rerank_proxy.inference.endpoints import Endpoint
from rerank_proxy.inference.service import RATE_LIMIT
from rerank_proxy.observe import stages
from rerank_proxy.observe.stages import Activity
from tests.support.remote import Remote, remote_case
from tests.support.traces import SAMPLED, Traces, Tree, check_nesting, failed, named, trees
from tests.support.vendors import CASES

COHERE: Final = next(case for case in CASES if case.service == "cohere")
CALL: Final[Tree] = ("POST", [])


async def spans_of(traces: Traces, remote: Remote, endpoint: Endpoint) -> list[Tree]:
    """Score in a trace, and return what is below its outermost span."""
    root = traces.begin(traceparent=SAMPLED)
    try:
        await endpoint.scores("q", ["a 0.25", "b 0.75"], remote.deadline())
    finally:
        root.end()
        stages.enter(Activity())
    check_nesting(traces.take())
    ((_, below),) = trees(traces.last)
    return below


async def test_a_call_that_is_tried_again() -> None:
    traces = Traces()
    async with remote_case(COHERE) as (remote, vendor, endpoint):
        vendor.fails(429, retry_after="7")
        assert await spans_of(traces, remote, endpoint) == [("score", [CALL, CALL])]
        sent = {name.lower() for headers in vendor.headers for name in headers}
        assert not {"traceparent", "tracestate"} & sent
        score = named(traces.last, "score")
        assert (score.attributes or {})["rerank_proxy.service"] == "cohere"
        assert failed(traces.last) == {"POST": "429"}
        secrets = [str(value) for value in endpoint.config.secrets.values()]
        shown = " ".join(span.to_json() for span in traces.last)
        assert not any(secret in shown for secret in secrets)
        assert secrets


async def test_a_wait_for_the_rate_limit() -> None:
    traces = Traces()
    async with remote_case(COHERE) as (remote, vendor, _):
        limits: dict[str, Any] = {RATE_LIMIT: {"requests_per_minute": 1}}
        limited = remote.endpoint(COHERE.service, {**COHERE.settings(vendor.url), **limits})
        assert await spans_of(traces, remote, limited) == [("score", [CALL])]
        assert await spans_of(traces, remote, limited) == [("score", [("queue", []), CALL])]


async def test_calls_side_by_side() -> None:
    traces = Traces()
    async with remote_case(COHERE, max_documents={"cohere": 1}) as (remote, _, endpoint):
        assert await spans_of(traces, remote, endpoint) == [("score", [CALL, CALL])]
        assert (named(traces.last, "score").attributes or {})["rerank_proxy.calls"] == 2
