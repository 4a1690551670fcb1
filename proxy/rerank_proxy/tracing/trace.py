"""The spans of one request, which are kept until it is known whether the request was answered here."""

import time
from collections.abc import Mapping
from typing import Final

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from rerank_proxy.observe import stages
from rerank_proxy.observe.stages import Attributes, Span

MOST_SPANS: Final = 1000
"""Of one request. An `_msearch` may have 10,000 searches, each with several."""

_PROPAGATOR: Final = TraceContextTextMapPropagator()


class Trace:
    """The spans of a request, or of an asynchronous search, in this process.

    They go to the exporter together, once the outermost one has ended: a request that is passed on to
    Elasticsearch leaves none.

    Args:
        clock_ns: When `stages.clock` was 0, in nanoseconds since 1970; None to find out.

    Attributes:
        is_over: Whether the outermost span has ended. What is begun later has no span of its own.
    """

    def __init__(self, tracer: otel.Tracer, clock_ns: int | None = None) -> None:
        self.is_over = False
        self._tracer = tracer
        self._clock_ns = time.time_ns() - int(stages.clock() * 1e9) if clock_ns is None else clock_ns
        self._ended: list[tuple[otel.Span, int]] = []
        self._begun = 0
        self._omitted = 0

    def begin(
        self,
        name: str,
        context: Context,
        kind: otel.SpanKind,
        began: float | None,
        attributes: Attributes | None,
    ) -> otel.Span | None:
        """Begin a span; None if there are too many, or the trace is over."""
        if self.is_over:
            return None
        if self._begun >= MOST_SPANS:
            self._omitted += 1
            return None
        self._begun += 1
        return self._tracer.start_span(
            name, context, kind, dict(attributes) if attributes else None, start_time=self._ns(began)
        )

    def separate(self) -> "Trace":
        """Return a trace for spans that may outlive these."""
        return Trace(self._tracer, self._clock_ns)

    def end(self, span: otel.Span, ended: float | None) -> None:
        """End a span; its end is sent with those of the others."""
        if not self.is_over:
            self._ended.append((span, self._ns(ended)))

    def finish(self, root: otel.Span, *, keep: bool) -> None:
        """End the outermost span, and send all that have ended, unless they are not to be kept."""
        if self.is_over:
            return
        if self._omitted:
            root.set_attribute("rerank_proxy.omitted_spans", self._omitted)
        self.end(root, None)
        self.is_over = True
        if keep:
            for span, ended_ns in self._ended:
                span.end(ended_ns)
        self._ended.clear()

    def _ns(self, at: float | None) -> int:
        return self._clock_ns + int((stages.clock() if at is None else at) * 1e9)


class RecordedSpan:
    """A span of a trace that is recorded; see `rerank_proxy.observe.stages.Span`."""

    def __init__(self, trace: Trace, span: otel.Span, *, is_outermost: bool = False) -> None:
        self._trace = trace
        self._span = span
        self._is_outermost = is_outermost
        self._failed = False

    @property
    def trace_id(self) -> str:
        return otel.format_trace_id(self._span.get_span_context().trace_id)

    def child(
        self,
        name: str,
        began: float | None = None,
        attributes: Attributes | None = None,
        *,
        is_client: bool = False,
    ) -> Span:
        kind = otel.SpanKind.CLIENT if is_client else otel.SpanKind.INTERNAL
        span = self._trace.begin(name, otel.set_span_in_context(self._span), kind, began, attributes)
        return UnrecordedSpan(self) if span is None else RecordedSpan(self._trace, span)

    def separate(self, name: str) -> Span:
        trace = self._trace.separate()
        span = trace.begin(name, otel.set_span_in_context(self._span), otel.SpanKind.INTERNAL, None, None)
        return UnrecordedSpan(self) if span is None else RecordedSpan(trace, span, is_outermost=True)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def set(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def event(self, name: str, attributes: Attributes | None = None) -> None:
        self._span.add_event(name, attributes)

    def fail(self, kind: str) -> None:
        if not self._failed:
            self._failed = True
            self._span.set_attribute("error.type", kind)
            self._span.set_status(otel.Status(otel.StatusCode.ERROR))

    def headers(self) -> Mapping[str, str]:
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, otel.set_span_in_context(self._span))
        return carrier

    def end(self, ended: float | None = None) -> None:
        if self._is_outermost:
            self._trace.finish(self._span, keep=True)
        else:
            self._trace.end(self._span, ended)

    def drop(self) -> None:
        """End the outermost span without a trace of any of them."""
        self._trace.finish(self._span, keep=False)


class UnrecordedSpan:
    """Stands for a span that there is no room for. Its parent stands for it in other servers."""

    def __init__(self, around: Span) -> None:
        self._around = around

    def child(
        self,
        name: str,
        began: float | None = None,
        attributes: Attributes | None = None,
        *,
        is_client: bool = False,
    ) -> Span:
        return self._around.child(name, began, attributes, is_client=is_client)

    def separate(self, name: str) -> Span:
        return self._around.separate(name)

    def rename(self, name: str) -> None:
        """Record nothing."""

    def set(self, attributes: Attributes) -> None:
        """Record nothing."""

    def event(self, name: str, attributes: Attributes | None = None) -> None:
        """Record nothing."""

    def fail(self, kind: str) -> None:
        """Record nothing."""

    def headers(self) -> Mapping[str, str]:
        return self._around.headers()

    def end(self, ended: float | None = None) -> None:
        """Record nothing."""
