"""The engine's metrics, labelled by the model's name if by anything."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.metrics import MetricWrapperBase

_BATCH_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_TOKENIZE_BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)

_QUEUE_BUCKETS_S: Final = (*_BATCH_BUCKETS_S, 30.0)


class EngineMetrics:
    """Metrics of one engine, in a registry of its own unless one is given."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._registry = CollectorRegistry() if registry is None else registry
        self.queued_tokens = self._gauge("queued_tokens", "Tokens that wait for the device.")
        self.queued_rows = self._gauge("queued_pairs", "Pairs that wait for the device.")
        self.batches = self._counter("batches", "Batches run.")
        self.batch_tokens = self._counter("batch_tokens", "Tokens run, without padding.")
        self.padding_tokens = self._counter("padding_tokens", "Padding tokens run.")
        self.batch_seconds = self._histogram("batch_seconds", "Seconds one batch ran.", _BATCH_BUCKETS_S)
        self.queue_seconds = self._histogram(
            "queue_seconds", "Seconds that one call waited while none of its texts ran.", _QUEUE_BUCKETS_S
        )
        self.tokenize_seconds = self._histogram(
            "tokenize_seconds", "Seconds to tokenise the texts of one call.", _TOKENIZE_BUCKETS_S
        )
        self.cache_hits = self._counter("cache_hits", "Texts whose result was remembered.")
        self.cache_misses = self._counter("cache_misses", "Texts whose result was not remembered.")
        self.shared_cache_hits = self._counter(
            "shared_cache_hits", "Texts and queries whose result was in the shared cache."
        )
        self.shared_cache_misses = self._counter(
            "shared_cache_misses", "Those whose result was not there, or not in time."
        )
        self.scored = self._counter("pairs_scored", "Pairs that the model ran.")
        self.truncated = self._counter("pairs_truncated", "Pairs of which something was cut before they ran.")
        self.rejected = self._counter("rejected", "Calls refused because the queue was full.")
        self.failed_batches = self._counter("failed_batches", "Batches that broke.")
        self.ready = self._gauge("model_ready", "1 when the model can score, 0 while it is not loaded.")
        self.load_failed = self._gauge("model_load_failed", "1 when the model could not be loaded.")
        self.load_seconds = self._gauge("model_load_seconds", "Seconds that loading took.")
        self.memory = self._gauge("model_memory_bytes", "Bytes that the weights of the model take.")
        self._info = Info("rerank_proxy_engine_model", "What is loaded.", ["model"], registry=self._registry)
        self._all = [metric for metric in vars(self).values() if isinstance(metric, MetricWrapperBase)]

        self._cache_bytes = Gauge(
            "rerank_proxy_engine_cache_bytes",
            "Bytes of remembered outputs.",
            registry=self._registry,
        )
        self._cache_entries = Gauge(
            "rerank_proxy_engine_cache_entries", "Remembered outputs.", registry=self._registry
        )
        self.cache_evictions = Counter(
            "rerank_proxy_engine_cache_evictions",
            "Remembered outputs that made room for others.",
            registry=self._registry,
        )
        self.workers = Gauge(
            "rerank_proxy_engine_workers", "Workers that run batches.", registry=self._registry
        )
        self.lost_workers = Counter(
            "rerank_proxy_engine_lost_workers",
            "Workers that failed with a batch and were replaced.",
            registry=self._registry,
        )

    def loaded(self, model: str, info: Mapping[str, str], seconds: float, size_bytes: int) -> None:
        """Mark the model ready to score."""
        self.ready.labels(model).set(1)
        self.load_failed.labels(model).set(0)
        self.load_seconds.labels(model).set(seconds)
        self.memory.labels(model).set(size_bytes)
        self._info.labels(model).info(dict(info))

    def failed(self, model: str) -> None:
        """Mark the model as one that could not be loaded."""
        self.load_failed.labels(model).set(1)

    def not_loaded(self, model: str) -> None:
        """Mark the model unloaded and drop the gauges of its queue, which refer to it."""
        self.ready.labels(model).set(0)
        self.load_failed.labels(model).set(0)
        for metric in (self.queued_tokens, self.queued_rows, self.memory, self._info):
            _forget(metric, model)

    def forget(self, model: str) -> None:
        """Drop all series of a model that was removed: its name may be one of many that come and go."""
        for metric in self._all:
            _forget(metric, model)

    def watch_queue(self, model: str, tokens: Callable[[], float], rows: Callable[[], float]) -> None:
        """Read the model's share of the queue whenever the metrics are read."""
        self.queued_tokens.labels(model).set_function(tokens)
        self.queued_rows.labels(model).set_function(rows)

    def watch_cache(self, size_bytes: Callable[[], float], entries: Callable[[], float]) -> None:
        """Read how full the cache is whenever the metrics are read."""
        self._cache_bytes.set_function(size_bytes)
        self._cache_entries.set_function(entries)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"rerank_proxy_engine_{name}", text, ["model"], registry=self._registry)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"rerank_proxy_engine_{name}", text, ["model"], registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(
            f"rerank_proxy_engine_{name}", text, ["model"], buckets=buckets, registry=self._registry
        )


def _forget(metric: MetricWrapperBase, model: str) -> None:
    with suppress(KeyError):  # the model has no series of it
        metric.remove(model)
