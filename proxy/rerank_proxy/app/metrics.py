"""Metrics of requests that are answered here. Labels take few values: never an index, a path or a query."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from rerank_proxy.app.apis.context import ApiAnswer, EndedSearch, ended_searches
from rerank_proxy.app.endpoint_labels import EndpointLabels, Labels
from rerank_proxy.observe import stages
from rerank_proxy.observe.outcome import Applied, Skipped
from rerank_proxy.search.timings import Timings
from rerank_proxy.upstream.protocol import Reply

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_OUTCOMES: Final = ("applied", "no_text", "skipped")


class RequestCounter(Protocol):
    """Counts requests by what became of them, each once."""

    def answered(self, answer: ApiAnswer) -> None:
        """Count a request that was answered here."""

    def refused(self, status: int) -> None:
        """Count a request that was answered with an error of this status."""

    def passed_on(self) -> None:
        """Count a request that went upstream as it came."""


class NotCounted:
    """Counts nothing: for requests about a search under way, which is counted when it ends."""

    def answered(self, answer: ApiAnswer) -> None:
        """Count nothing."""

    def refused(self, status: int) -> None:
        """Count nothing."""

    def passed_on(self) -> None:
        """Count nothing."""


class InferenceMetrics:
    """Counts requests of the `_inference` and `_ml/trained_models` APIs by what became of them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "rerank_proxy_inference_requests",
            "Requests to manage or run inference endpoints and uploaded models by what became of them: "
            "answered, rejected (4xx), failed (5xx), passed on.",
            ["outcome"],
            registry=registry,
        )

    def answered(self, answer: ApiAnswer) -> None:
        if isinstance(answer, Reply) and answer.status >= 400:
            self.refused(answer.status)
        else:
            self._requests.labels("answered").inc()

    def refused(self, status: int) -> None:
        self._requests.labels(_refusal(status)).inc()

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


class RerankerMetrics:
    """Counts the rerankers of answered searches, by endpoint and model."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._rerankers = Counter(
            "rerank_proxy_rerankers",
            "Rerankers of answered searches by what became of them: applied, no_text (none of the hits has "
            "any), skipped.",
            ["outcome", "endpoint", "model"],
            registry=registry,
        )
        self._seconds = Histogram(
            "rerank_proxy_reranker_seconds",
            "Seconds until a reranker had its scores.",
            ["endpoint", "model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._labels = EndpointLabels(self._forget)

    def endpoint_gone(self, endpoint: str) -> None:
        """Drop the series of an endpoint that was deleted."""
        self._labels.gone(endpoint)

    def count(self, rerankers: Sequence[Applied | Skipped], exemplar: dict[str, str] | None) -> None:
        """Count the rerankers of a search."""
        for each in rerankers:
            labels = self._labels.of(each)
            has_no_text = isinstance(each, Applied) and each.has_no_text
            self._rerankers.labels("no_text" if has_no_text else each.word, *labels).inc()
            if isinstance(each, Applied) and each.scored:
                self._seconds.labels(*labels).observe(each.ms / 1000, exemplar)

    def _forget(self, labels: Labels) -> None:
        for outcome in _OUTCOMES:
            with suppress(KeyError):
                self._rerankers.remove(outcome, *labels)
        with suppress(KeyError):
            self._seconds.remove(*labels)


class SearchMetrics:
    """Counts searches by what became of them, and where their time went."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.rerankers = RerankerMetrics(registry)
        self._searches = Counter(
            "rerank_proxy_searches",
            "Searches by what became of them: applied, skipped, evaluated, rejected (4xx), failed (5xx), "
            "passed on.",
            ["outcome"],
            registry=registry,
        )
        self._failed_open = Counter(
            "rerank_proxy_searches_failed_open",
            "Searches with a reranker that was skipped, by reason.",
            ["reason"],
            registry=registry,
        )
        self._deadlines = Counter(
            "rerank_proxy_searches_deadline",
            "Searches of which something was not done in time, by the limit that was reached.",
            ["limit"],
            registry=registry,
        )
        self._stages = Histogram(
            "rerank_proxy_search_stage_seconds",
            "Seconds of an answered search by what it did or waited for: parse, upstream, tokenise, queue, "
            "score, splice, own.",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )

    def answered(self, answer: ApiAnswer) -> None:
        """Count a search, or all those of a request; no other answer is that of a search that has ended."""
        for search in ended_searches(answer):
            self._ended(search)

    def refused(self, status: int) -> None:
        self._failed(status, stages.current().times)

    def passed_on(self) -> None:
        self._searches.labels("passed").inc()

    def _failed(self, status: int, timings: object) -> None:
        self._searches.labels(_refusal(status)).inc()
        if isinstance(timings, Timings):
            self._count_deadlines(timings)

    def _ended(self, search: EndedSearch) -> None:
        if search.outcome is None or search.timings is None:
            self._failed(search.status, search.timings)
            return
        exemplar = stages.exemplar()
        self._searches.labels(search.outcome.word).inc()
        self.rerankers.count(search.outcome.rerankers, exemplar)
        for why in {each.why for each in search.outcome.rerankers if isinstance(each, Skipped)}:
            self._failed_open.labels(why).inc()
        self._count_deadlines(search.timings)
        for stage, seconds in search.timings.named().items():
            self._stages.labels(stage).observe(seconds, exemplar)

    def _count_deadlines(self, timings: Timings) -> None:
        for limit in timings.missed:
            self._deadlines.labels(limit).inc()


def _refusal(status: int) -> str:
    return "rejected" if status < 500 else "failed"


class AsyncSearchMetrics:
    """Shows the asynchronous searches that are kept.

    Args:
        running, finished: Return how many there are.
        size_bytes: Returns the bytes of the answers that are kept.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        running: Callable[[], float],
        finished: Callable[[], float],
        size_bytes: Callable[[], float],
    ) -> None:
        searches = Gauge(
            "rerank_proxy_async_searches",
            "Asynchronous searches that are kept, by state: running, finished.",
            ["state"],
            registry=registry,
        )
        searches.labels("running").set_function(running)
        searches.labels("finished").set_function(finished)
        kept = Gauge(
            "rerank_proxy_async_search_bytes",
            "Bytes of the answers of asynchronous searches that are kept.",
            registry=registry,
        )
        kept.set_function(size_bytes)
