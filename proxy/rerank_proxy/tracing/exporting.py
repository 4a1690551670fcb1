"""Sends spans to a collector from a thread. A collector that is slow or gone costs spans, never a search."""

import io
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from requests.adapters import HTTPAdapter

from rerank_proxy.tracing.metrics import SpanMetrics

logger = logging.getLogger(__name__)

MOST_WAITING: Final = 8192
"""Spans that may wait, or be under way, at any time."""
_BATCH: Final = 512
_EVERY_MS: Final = 1000
_TIMEOUT_S: Final = 5.0
"""For one batch, retries included."""
_MAX_ANSWER: Final = 64 * 1024
"""Bytes of a collector's answer, of which only the status counts."""


class BoundedProcessor(BatchSpanProcessor):
    """Has batches exported by a thread, and drops the spans for which there is no room.

    The library's own bound drops without saying how many.
    """

    def __init__(
        self, exporter: SpanExporter, metrics: SpanMetrics, most_waiting: int = MOST_WAITING
    ) -> None:
        self._metrics = metrics
        self._most_waiting = most_waiting
        self._watched = _Watched(exporter, metrics)
        self._begun = 0
        super().__init__(
            self._watched,
            max_queue_size=most_waiting,
            schedule_delay_millis=_EVERY_MS,
            max_export_batch_size=min(_BATCH, most_waiting),
        )

    def on_end(self, span: ReadableSpan) -> None:
        if self._begun - self._watched.done >= self._most_waiting:
            self._metrics.count("dropped")
            self._watched.warn("too many of them wait")
            return
        self._begun += 1
        super().on_end(span)


class _Watched(SpanExporter):
    """Counts what an exporter sends, and logs once when it begins to fail, and when it succeeds again.

    Attributes:
        done: Spans that were exported, or given up.
    """

    def __init__(self, exporter: SpanExporter, metrics: SpanMetrics) -> None:
        self.done = 0
        self._exporter = exporter
        self._metrics = metrics
        self._fails = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        succeeded = False
        try:
            succeeded = self._exporter.export(spans) is SpanExportResult.SUCCESS
        finally:
            self.done += len(spans)
            self._metrics.count("sent" if succeeded else "failed", len(spans))
        if succeeded and self._fails:
            self._fails = False
            logger.warning("the collector of [tracing.endpoint] takes spans again")
        elif not succeeded:
            self.warn("the collector of [tracing.endpoint] does not take them")
        return SpanExportResult.SUCCESS if succeeded else SpanExportResult.FAILURE

    def warn(self, reason: str) -> None:
        """Log that spans are lost, unless that has been said since the last success."""
        if not self._fails:
            self._fails = True
            logger.warning("spans are lost: %s (rerank_proxy_spans_total counts them)", reason)

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class _Guarded(HTTPAdapter):
    """Bounds an answer in size and time, and takes one that sends us elsewhere for a failure."""

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        until = time.monotonic() + _TIMEOUT_S
        response = super().send(*args, **kwargs)
        if 300 <= response.status_code < 400:
            response.close()
            raise requests.exceptions.RequestException("the collector is elsewhere")
        left = _MAX_ANSWER
        while left > 0 and time.monotonic() < until:
            piece = response.raw.read1(left, decode_content=False)
            if not piece:
                break
            left -= len(piece)
        else:
            response.close()  # else its connection can be used again
        response.raw = io.BytesIO()  # what the library reads
        return response


def exporting(
    endpoint: str, headers: Mapping[str, str], ca_certs: str | None, metrics: SpanMetrics
) -> BoundedProcessor:
    """Return what sends spans to a collector.

    Args:
        endpoint: The whole URL.
        ca_certs: A PEM file; None for the authorities of certifi.
    """
    # The library logs each failure, and each span that finds no room.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    session = requests.Session()
    session.trust_env = False  # no proxy and no credentials but those of the settings
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Guarded())
    exporter = OTLPSpanExporter(
        endpoint,
        certificate_file=ca_certs,
        headers=headers,
        timeout=_TIMEOUT_S,
        compression=Compression.Gzip,
        session=session,
    )
    return BoundedProcessor(exporter, metrics)
