"""Spans on their way to a collector, which may be slow, gone, or never answer."""

import asyncio
import gzip
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from prometheus_client import CollectorRegistry

from rerank_proxy.cli.options import check_named
from rerank_proxy.observe import stages
from rerank_proxy.settings import InvalidSettingsError, Settings, TracingSettings
from rerank_proxy.tracing import opening
from rerank_proxy.tracing.exporting import BoundedProcessor
from rerank_proxy.tracing.metrics import SpanMetrics
from rerank_proxy.tracing.opening import open_tracer
from rerank_proxy.tracing.tracer import Tracer
from tests.support.raw_http import TIMEOUT_S

LATE_S: Final = 60.0


class Collector(ThreadingHTTPServer):
    """Takes spans by OTLP over HTTP."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.taken: list[tuple[str, dict[str, str], ExportTraceServiceRequest]] = []
        self.status = 200
        self.is_endless = False
        self.gate = threading.Event()
        self.gate.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.gate.wait(TIMEOUT_S)
        body = gzip.decompress(raw) if self.headers["Content-Encoding"] == "gzip" else raw
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.taken.append((self.path, headers, ExportTraceServiceRequest.FromString(body)))
        self.send_response(self.server.status)
        self.send_header("Location", f"{self.server.url}/elsewhere")
        if not self.server.is_endless:
            self.send_header("Content-Length", "0")
        self.end_headers()
        with suppress(ConnectionError):
            while self.server.is_endless:
                self.wfile.write(bytes(64 * 1024))

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as serving:
        thread = threading.Thread(target=serving.serve_forever, daemon=True)
        thread.start()
        yield serving
        serving.gate.set()
        serving.shutdown()
        thread.join()


def opened(registry: CollectorRegistry, **settings: Any) -> Tracer:
    tracer = open_tracer(TracingSettings(**settings), registry)
    assert tracer is not None
    return tracer


def trace(tracer: Tracer) -> None:
    root = tracer.begin("POST /_search", (), stages.clock(), {"http.request.method": "POST"})
    assert root is not None
    root.child("score", attributes={"rerank_proxy.pairs": 3}).end()
    root.end()


def counted(registry: CollectorRegistry, outcome: str) -> float:
    return registry.get_sample_value("rerank_proxy_spans_total", {"outcome": outcome}) or 0


async def test_a_collector_takes_them(collector: Collector) -> None:
    registry, headers = CollectorRegistry(), "Authorization=Bearer%20token,X-Tenant=a"
    tracer = opened(registry, endpoint=collector.url, service_name="mine", headers=headers)
    trace(tracer)
    await tracer.close(LATE_S)
    ((path, sent, request),) = collector.taken
    assert path == "/v1/traces"
    assert (sent["authorization"], sent["x-tenant"]) == ("Bearer token", "a")
    (resource,) = request.resource_spans
    attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert attributes["service.name"] == "mine"
    spans = [span for scope in resource.scope_spans for span in scope.spans]
    assert {span.name for span in spans} == {"POST /_search", "score"}
    (root,) = [span for span in spans if not span.parent_span_id]
    assert all(span.parent_span_id in (b"", root.span_id) for span in spans)
    assert counted(registry, "sent") == 2


async def test_one_that_refuses_them(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    """It is said once, and nothing else is."""
    collector.status = 400
    registry = CollectorRegistry()
    tracer = opened(registry, endpoint=f"{collector.url}/custom")
    with caplog.at_level(logging.WARNING):
        trace(tracer)
        trace(tracer)
        await tracer.close(LATE_S)
    assert {path for path, _, _ in collector.taken} == {"/custom"}
    assert counted(registry, "failed") == 4
    (record,) = caplog.records
    assert "spans are lost" in record.getMessage()


async def test_one_that_sends_them_elsewhere(collector: Collector) -> None:
    """What goes to a collector, credentials included, goes nowhere else, and is not counted as sent."""
    collector.status = 307
    registry = CollectorRegistry()
    tracer = opened(registry, endpoint=collector.url, headers="X-Key=secret")
    trace(tracer)
    await tracer.close(LATE_S)
    assert [path for path, _, _ in collector.taken] == ["/v1/traces"]
    assert (counted(registry, "sent"), counted(registry, "failed")) == (0, 2)


async def test_one_whose_answer_has_no_end(collector: Collector) -> None:
    collector.is_endless = True
    registry = CollectorRegistry()
    tracer = opened(registry, endpoint=collector.url)
    trace(tracer)
    await tracer.close(LATE_S)
    assert counted(registry, "sent") == 2


async def test_one_that_never_answers_does_not_hold_up_the_end(collector: Collector) -> None:
    collector.gate.clear()
    tracer = opened(CollectorRegistry(), endpoint=collector.url)
    trace(tracer)
    await asyncio.wait_for(tracer.close(0.05), TIMEOUT_S)


class _Slow(SpanExporter):
    def __init__(self) -> None:
        self.gate = threading.Event()
        self.succeeds = True
        self.exported: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        assert self.gate.wait(TIMEOUT_S)
        self.exported += spans
        return SpanExportResult.SUCCESS if self.succeeds else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Do nothing."""


async def test_what_finds_no_room_is_dropped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    registry, exporter = CollectorRegistry(), _Slow()
    processor = BoundedProcessor(exporter, SpanMetrics(registry), most_waiting=10)
    tracer = Tracer(TracingSettings(), processor)
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            trace(tracer)
        exporter.gate.set()
        await tracer.close(LATE_S)
    assert (counted(registry, "sent"), counted(registry, "dropped")) == (10, 30)
    assert len(exporter.exported) == 10
    assert caplog.records[0].getMessage().startswith("spans are lost: too many")


def test_without_a_collector_there_is_no_tracer() -> None:
    assert open_tracer(TracingSettings(), CollectorRegistry()) is None


def test_the_libraries_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "find_spec", lambda name: None)
    with pytest.raises(InvalidSettingsError, match=r"pip install 'rerank-proxy\[tracing\]'"):
        opened(CollectorRegistry(), endpoint="http://c:4318")


def test_faults_are_told_before_anything_is_started(tmp_path: Path) -> None:
    tracing = {"endpoint": "https://c:4318", "ca_certs": str(tmp_path / "none")}
    with pytest.raises(InvalidSettingsError, match=r"\[tracing.ca_certs\]"):
        check_named(Settings.model_validate({"tracing": tracing}))


def test_authorities_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettingsError, match="is not a file"):
        opened(CollectorRegistry(), endpoint="https://c:4318", ca_certs=tmp_path / "none")
