"""A tracer whose spans stay in memory, and the trees that they form."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from rerank_proxy.observe import stages
from rerank_proxy.observe.stages import Activity
from rerank_proxy.search.timings import Timings
from rerank_proxy.settings import TracingSettings
from rerank_proxy.tracing.trace import RecordedSpan
from rerank_proxy.tracing.tracer import Tracer

TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
PARENT: Final = "b7ad6b7169203331"
SAMPLED: Final = f"00-{TRACE}-{PARENT}-01"
NOT_SAMPLED: Final = f"00-{TRACE}-{PARENT}-00"

Tree = tuple[str, list[Any]]
"""The name of a span and the trees below it, in the order in which they began."""


class Traces:
    """Records spans.

    Attributes:
        tracer: For the application.
        last: The spans that were taken last.
    """

    def __init__(self, **settings: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracer = Tracer(self.settings(**settings), SimpleSpanProcessor(self._exporter))

    @staticmethod
    def settings(**settings: Any) -> TracingSettings:
        """Return settings of the section `tracing`."""
        return TracingSettings(**settings)

    def take(self) -> Sequence[ReadableSpan]:
        """Return the spans that have ended since the last call."""
        self.last: Sequence[ReadableSpan] = self._exporter.get_finished_spans()
        self._exporter.clear()
        return self.last

    def begin(self, **headers: str) -> RecordedSpan:
        """Begin a trace in this task, as a request with these headers does."""
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        span = self.tracer.begin("a request", raw, stages.clock(), {})
        assert span is not None
        stages.enter(Activity(Timings(), span, span.trace_id))
        return span


def id_of(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.span_id


def trees(spans: Sequence[ReadableSpan]) -> list[Tree]:
    """Return the trees that spans form. The parent of an outermost one is not among them."""
    known = {id_of(span) for span in spans}

    def below(parent: int | None) -> list[Tree]:
        children = [span for span in spans if _parent(span, known) == parent]
        children.sort(key=lambda span: span.start_time or 0)
        return [(span.name, below(id_of(span))) for span in children]

    return below(None)


def _parent(span: ReadableSpan, known: set[int]) -> int | None:
    return span.parent.span_id if span.parent is not None and span.parent.span_id in known else None


def named(spans: Iterable[ReadableSpan], name: str) -> ReadableSpan:
    """Return the one span of this name."""
    (found,) = [span for span in spans if span.name == name]
    return found


def failed(spans: Iterable[ReadableSpan]) -> dict[str, str]:
    """Return the types of failures by the names of the spans that have one."""
    return {
        span.name: str((span.attributes or {})["error.type"])
        for span in spans
        if span.status.status_code is StatusCode.ERROR
    }


def check_nesting(spans: Sequence[ReadableSpan]) -> None:
    """Check that each span is within the time of its parent, unless it may outlive that."""
    by_id = {id_of(span): span for span in spans}
    for span in spans:
        assert span.start_time is not None
        assert span.end_time is not None
        assert span.start_time <= span.end_time
        parent = by_id.get(span.parent.span_id) if span.parent is not None else None
        if parent is None:
            continue
        assert parent.start_time is not None
        assert parent.end_time is not None
        assert parent.start_time <= span.start_time, (span.name, parent.name)
        if span.name != "asynchronous search":
            assert span.end_time <= parent.end_time, (span.name, parent.name)
