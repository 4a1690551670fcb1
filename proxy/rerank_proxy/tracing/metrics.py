"""The metrics of tracing."""

from prometheus_client import CollectorRegistry, Counter


class SpanMetrics:
    """Counts spans by what became of them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._spans = Counter(
            "rerank_proxy_spans",
            "Spans by what became of them: sent, failed (the collector did not take them), dropped (too many "
            "waited).",
            ["outcome"],
            registry=registry,
        )

    def count(self, outcome: str, spans: int = 1) -> None:
        """Count spans."""
        self._spans.labels(outcome).inc(spans)
