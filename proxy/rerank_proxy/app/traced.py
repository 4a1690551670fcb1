"""The span of a request that is answered here: its server's part of a trace."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from rerank_proxy.http import handover
from rerank_proxy.http.messages import Request, Response
from rerank_proxy.observe import stages

if TYPE_CHECKING:
    from rerank_proxy.tracing.trace import RecordedSpan
    from rerank_proxy.tracing.tracer import Tracer


class TracedRequest:
    """A request whose span is recorded, unless `span` is None.

    Args:
        tells: Whether it is the edge that asks, which takes out what is told to it alone.
    """

    def __init__(self, span: "RecordedSpan | None", *, tells: bool) -> None:
        self.span = span
        self.is_passed_on = False
        self._tells = tells

    def answered(self, response: Response) -> Response:
        """Take note of the answer, and return it with the id of the trace, for the edge.

        A request that goes upstream as it came has no span.
        """
        self.is_passed_on = response.status == handover.PASSED_ON
        if self.span is None or self.is_passed_on:
            return response
        self.span.set({"http.response.status_code": response.status})
        if response.status >= 500:  # what is below is the client's failure, and not this server's
            self.span.fail(str(response.status))
        if not self._tells:
            return response
        return replace(response, headers=[(handover.TRACE, self.span.trace_id), *response.headers])


@contextmanager
def traced(tracer: "Tracer", request: Request) -> Iterator[TracedRequest]:
    """Record the block as the answering of a request: what is done in it has its spans below this one."""
    activity = stages.current()
    method = request.method
    attributes = {"http.request.method": method, "url.scheme": "http"}
    span = tracer.begin(method, request.raw_headers, stages.clock(), attributes)
    traced_request = TracedRequest(span, tells=handover.REQUEST_ID in request.headers)
    if span is None:
        yield traced_request
        return
    stages.enter(replace(activity, span=span, trace_id=span.trace_id))
    try:
        yield traced_request
    except asyncio.CancelledError:
        span.fail("cancelled")  # the client has left
        raise
    finally:
        if traced_request.is_passed_on:
            span.drop()
        else:
            span.end()


def name_span(method: str, path: str, path_params: Mapping[str, str]) -> None:
    """Give the span of the request the name of its route, in which names stand for what a client chose.

    Args:
        path: As it came, without the query, which may hold a query text.
    """
    span = stages.current().span
    if span is None:
        return
    names = {value: name for name, value in path_params.items()}
    route = "/".join(f"{{{names[part]}}}" if part in names else part for part in path.split("/"))
    span.set({"http.route": route, "url.path": path})
    span.rename(f"{method} {route}")
