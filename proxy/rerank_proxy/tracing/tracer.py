"""Begins the traces of requests, or continues those of their clients."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes as OtelAttributes

from rerank_proxy import __version__
from rerank_proxy.concurrency.daemon_threads import run_in_daemon_thread
from rerank_proxy.observe.stages import Attributes
from rerank_proxy.observe.trace_context import trace_id
from rerank_proxy.settings import TracingSettings
from rerank_proxy.tracing.trace import RecordedSpan, Trace

_LONGEST: Final = 256
"""Characters of an attribute: ids of endpoints are chosen by clients."""

_PROPAGATOR: Final = TraceContextTextMapPropagator()
_CONTEXT: Final = (b"traceparent", b"tracestate")


class Tracer:
    """Traces requests.

    Args:
        processor: Takes the spans that have ended.
    """

    def __init__(self, settings: TracingSettings, processor: SpanProcessor) -> None:
        self._sampler = _ChangingSampler(settings.sample_ratio)
        self._provider = TracerProvider(
            sampler=self._sampler,
            resource=Resource.create({"service.name": settings.service_name, "service.version": __version__}),
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_span_attribute_length=_LONGEST, max_event_attributes=8),
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("rerank_proxy", __version__)

    def use(self, settings: TracingSettings) -> None:
        """Record another part of the requests that begin from now on."""
        self._sampler.use(settings.sample_ratio)

    def begin(
        self, name: str, headers: Iterable[tuple[bytes, bytes]], began: float, attributes: Attributes
    ) -> RecordedSpan | None:
        """Begin the span of a request; None if it is not recorded.

        Args:
            headers: Of the request, as they came: they may say which trace it belongs to.
            began: On `stages.clock`.
        """
        trace = Trace(self._tracer)
        span = trace.begin(name, _context_of(headers), otel.SpanKind.SERVER, began, attributes)
        if span is None or not span.is_recording():
            return None
        return RecordedSpan(trace, span, is_outermost=True)

    async def close(self, within_s: float) -> None:
        """Send what has ended. Return when that is done, but no later than after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await run_in_daemon_thread(self._provider.shutdown, "tracing-shutdown")


class _ChangingSampler(Sampler):
    """Decides as the client did, and by ratio where it did not."""

    def __init__(self, ratio: float) -> None:
        self.use(ratio)

    def use(self, ratio: float) -> None:
        self._sampler = ParentBased(TraceIdRatioBased(ratio))

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: otel.SpanKind | None = None,
        attributes: OtelAttributes = None,
        links: Sequence[otel.Link] | None = None,
        trace_state: otel.TraceState | None = None,
    ) -> SamplingResult:
        return self._sampler.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def get_description(self) -> str:
        return type(self).__name__


def _context_of(headers: Iterable[tuple[bytes, bytes]]) -> Context:
    """Return the context that the client sent; an empty one where that is malformed."""
    pairs = [(name.lower(), value) for name, value in headers if name.lower() in _CONTEXT]
    if trace_id(pairs) is None:
        return Context()
    carrier: dict[str, list[str]] = {}
    for name, value in pairs:
        carrier.setdefault(name.decode(), []).append(value.decode("latin-1").strip(" \t"))
    return _PROPAGATOR.extract(carrier, Context())
