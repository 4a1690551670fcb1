"""Metrics of reranked searches. Labels take few values: never an index, a path or a query."""

from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram

from proxy.observe.outcome import Applied
from proxy.search.executor import SearchAnswer

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class RequestCounter(Protocol):
    """Counts requests that are not answered with success here."""

    def refused(self, status: int) -> None:
        """Answered with an error of this status."""

    def passed_on(self) -> None:
        """Sent upstream untouched."""


class InferenceMetrics:
    """Counts requests of the `_inference` API by what became of them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "rerank_proxy_inference_requests",
            "Requests to manage or run inference endpoints by what became of them: answered, rejected (4xx), "
            "failed (5xx), passed on.",
            ["outcome"],
            registry=registry,
        )

    def answered(self) -> None:
        self._requests.labels("answered").inc()

    def refused(self, status: int) -> None:
        self._requests.labels("rejected" if status < 500 else "failed").inc()

    def passed_on(self) -> None:
        self._requests.labels("passed").inc()


class UpstreamMetrics:
    """Counts inner requests that were sent twice."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._retries = Counter(
            "rerank_proxy_search_upstream_retries",
            "Inner requests sent again because a kept connection turned out to be closed.",
            registry=registry,
        )

    def sent_again(self) -> None:
        self._retries.inc()


class SearchMetrics:
    """Counts searches by what became of them, and where their time went."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._searches = Counter(
            "rerank_proxy_searches",
            "Searches by what became of them: applied, skipped, rejected (4xx), failed (5xx), passed on.",
            ["outcome"],
            registry=registry,
        )
        self._upstream = Histogram(
            "rerank_proxy_search_upstream_seconds",
            "Seconds that a reranked search waited for inner searches.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._rerank = Histogram(
            "rerank_proxy_search_rerank_seconds",
            "Seconds that a reranked search waited for scores.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._own = Histogram(
            "rerank_proxy_search_own_seconds",
            "Seconds of a reranked search that were neither upstream's nor the model's.",
            buckets=_SECONDS,
            registry=registry,
        )

    def answered(self, answer: SearchAnswer, total_s: float) -> None:
        self._searches.labels("applied" if isinstance(answer.outcome, Applied) else "skipped").inc()
        self._upstream.observe(answer.timings.upstream_s)
        self._rerank.observe(answer.timings.rerank_s)
        self._own.observe(max(0.0, total_s - answer.timings.upstream_s - answer.timings.rerank_s))

    def refused(self, status: int) -> None:
        self._searches.labels("rejected" if status < 500 else "failed").inc()

    def passed_on(self) -> None:
        self._searches.labels("passed").inc()
