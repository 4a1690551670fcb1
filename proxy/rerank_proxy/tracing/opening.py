"""Begin to trace if the settings name a collector, without importing what that needs if they do not."""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry

from rerank_proxy.settings import InvalidSettingsError, TracingSettings
from rerank_proxy.settings.sections.tracing import parse_headers
from rerank_proxy.tracing.metrics import SpanMetrics

if TYPE_CHECKING:
    from rerank_proxy.tracing.tracer import Tracer

EXTRA: Final = "pip install 'rerank-proxy[tracing]'"


def open_tracer(settings: TracingSettings, registry: CollectorRegistry) -> "Tracer | None":
    """Return what traces requests; None if the settings name no collector.

    Raises:
        InvalidSettingsError: The libraries are not installed, or a file is missing.
    """
    metrics = SpanMetrics(registry)
    if settings.endpoint is None:
        return None
    if not _is_installed():
        raise InvalidSettingsError(f"[tracing.endpoint] needs Python packages of OpenTelemetry: {EXTRA}")
    if settings.ca_certs is not None and not settings.ca_certs.expanduser().is_file():
        raise InvalidSettingsError(f"[tracing.ca_certs]: {settings.ca_certs} is not a file")
    headers = {} if settings.headers is None else parse_headers(settings.headers.get_secret_value())

    from rerank_proxy.tracing.exporting import exporting
    from rerank_proxy.tracing.tracer import Tracer

    ca_certs = None if settings.ca_certs is None else str(settings.ca_certs.expanduser())
    return Tracer(settings, exporting(settings.endpoint, headers, ca_certs, metrics))


def _is_installed() -> bool:
    try:
        return all(map(find_spec, ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")))
    except ModuleNotFoundError:  # a part of the name is missing
        return False
