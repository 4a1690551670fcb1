"""Metrics of calls to remote services, by service: these are few, and clients cannot add any."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class RemoteMetrics:
    """Counters of calls, and of open circuits."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.calls = Counter(
            "rerank_proxy_remote_calls",
            "Calls of remote services by their end: 2xx, 3xx, 4xx, 429, 5xx, no_answer, abandoned.",
            ["service", "outcome"],
            registry=registry,
        )
        self.seconds = Histogram(
            "rerank_proxy_remote_seconds",
            "Seconds that one call of a remote service took.",
            ["service"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.retries = Counter(
            "rerank_proxy_remote_retries",
            "Calls of remote services that were sent once more after a 429, a 5xx or no connection.",
            ["service"],
            registry=registry,
        )
        self.resent = Counter(
            "rerank_proxy_remote_resent",
            "Calls of remote services that were sent once more because a kept connection was closed.",
            ["service"],
            registry=registry,
        )
        self.paused = Gauge(
            "rerank_proxy_remote_paused_endpoints",
            "Endpoints whose circuit breaker is open because their calls kept failing.",
            ["service"],
            registry=registry,
        )


def outcome(status: int) -> str:
    """Return the label of an answer."""
    return "429" if status == 429 else f"{status // 100}xx"
