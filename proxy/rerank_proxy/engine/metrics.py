"""The engine's metrics, labelled by the model's name if by anything."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.metrics import MetricWrapperBase

M = TypeVar("M", bound=MetricWrapperBase)

_PREFIX: Final = "rerank_proxy_engine_"
_BY_MODEL: Final = ("model",)
_BATCH_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_TOKENIZE_BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
_QUEUE_BUCKETS_S: Final = (*_BATCH_BUCKETS_S, 30.0)


class _Making:
    """Makes metrics of the engine, and knows those of which each model has series."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._by_model: list[MetricWrapperBase] = []

    def gauge(self, name: str, text: str) -> Gauge:
        return self._known(Gauge(_PREFIX + name, text, _BY_MODEL, registry=self.registry))

    def counter(self, name: str, text: str) -> Counter:
        return self._known(Counter(_PREFIX + name, text, _BY_MODEL, registry=self.registry))

    def histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        made = Histogram(_PREFIX + name, text, _BY_MODEL, buckets=buckets, registry=self.registry)
        return self._known(made)

    def info(self, name: str, text: str) -> Info:
        return self._known(Info(_PREFIX + name, text, _BY_MODEL, registry=self.registry))

    def forget(self, model: str) -> None:
        _forget(model, *self._by_model)

    def _known(self, metric: M) -> M:
        self._by_model.append(metric)
        return metric


class CallMetrics:
    """What became of calls before a batch ran their texts."""

    def __init__(self, making: _Making) -> None:
        self.tokenize_seconds = making.histogram(
            "tokenize_seconds", "Seconds to tokenise the texts of one call.", _TOKENIZE_BUCKETS_S
        )
        self.queue_seconds = making.histogram(
            "queue_seconds", "Seconds that one call waited while none of its texts ran.", _QUEUE_BUCKETS_S
        )
        self.rejected = making.counter("rejected", "Calls refused because the queue was full.")
        self._queued_tokens = making.gauge("queued_tokens", "Tokens that wait for the device.")
        self._queued_rows = making.gauge("queued_pairs", "Pairs that wait for the device.")

    def watch_queue(self, model: str, tokens: Callable[[], float], rows: Callable[[], float]) -> None:
        """Read the model's share of the queue whenever the metrics are read."""
        self._queued_tokens.labels(model).set_function(tokens)
        self._queued_rows.labels(model).set_function(rows)

    def queue_gone(self, model: str) -> None:
        """Drop the gauges of a model's queue, which refer to it."""
        _forget(model, self._queued_tokens, self._queued_rows)


class BatchMetrics:
    """What was run, and by how many workers."""

    def __init__(self, making: _Making) -> None:
        self.run = making.counter("batches", "Batches run.")
        self.tokens = making.counter("batch_tokens", "Tokens run, without padding.")
        self.padding_tokens = making.counter("padding_tokens", "Padding tokens run.")
        self.seconds = making.histogram("batch_seconds", "Seconds one batch ran.", _BATCH_BUCKETS_S)
        self.scored = making.counter("pairs_scored", "Pairs that the model ran.")
        self.truncated = making.counter(
            "pairs_truncated", "Pairs of which something was cut before they ran."
        )
        self.failed = making.counter("failed_batches", "Batches that broke.")
        self.workers = Gauge(f"{_PREFIX}workers", "Workers that run batches.", registry=making.registry)
        self.lost_workers = Counter(
            f"{_PREFIX}lost_workers",
            "Workers that failed with a batch and were replaced.",
            registry=making.registry,
        )


class CacheMetrics:
    """What was remembered, here and in the shared cache."""

    def __init__(self, making: _Making) -> None:
        self.hits = making.counter("cache_hits", "Texts whose result was remembered.")
        self.misses = making.counter("cache_misses", "Texts whose result was not remembered.")
        self.shared_hits = making.counter(
            "shared_cache_hits", "Texts and queries whose result was in the shared cache."
        )
        self.shared_misses = making.counter(
            "shared_cache_misses", "Those whose result was not there, or not in time."
        )
        self._bytes = Gauge(f"{_PREFIX}cache_bytes", "Bytes of remembered outputs.", registry=making.registry)
        self._entries = Gauge(f"{_PREFIX}cache_entries", "Remembered outputs.", registry=making.registry)
        self.evictions = Counter(
            f"{_PREFIX}cache_evictions",
            "Remembered outputs that made room for others.",
            registry=making.registry,
        )

    def watch(self, size_bytes: Callable[[], float], entries: Callable[[], float]) -> None:
        """Read how full the cache is whenever the metrics are read."""
        self._bytes.set_function(size_bytes)
        self._entries.set_function(entries)


class ModelMetrics:
    """Which models are loaded, and what they take."""

    def __init__(self, making: _Making) -> None:
        self._ready = making.gauge("model_ready", "1 when the model can score, 0 while it is not loaded.")
        self._load_failed = making.gauge("model_load_failed", "1 when the model could not be loaded.")
        self._load_seconds = making.gauge("model_load_seconds", "Seconds that loading took.")
        self._memory = making.gauge("model_memory_bytes", "Bytes that the weights of the model take.")
        self._info = making.info("model", "What is loaded.")

    def loaded(self, model: str, info: Mapping[str, str], seconds: float, size_bytes: int) -> None:
        """Mark the model ready to score."""
        self._ready.labels(model).set(1)
        self._load_failed.labels(model).set(0)
        self._load_seconds.labels(model).set(seconds)
        self._memory.labels(model).set(size_bytes)
        self._info.labels(model).info(dict(info))

    def failed(self, model: str) -> None:
        """Mark the model as one that could not be loaded."""
        self._load_failed.labels(model).set(1)

    def not_loaded(self, model: str) -> None:
        """Mark the model unloaded."""
        self._ready.labels(model).set(0)
        self._load_failed.labels(model).set(0)
        _forget(model, self._memory, self._info)


class EngineMetrics:
    """Metrics of one engine, in a registry of its own unless one is given."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._making = _Making(CollectorRegistry() if registry is None else registry)
        self.calls = CallMetrics(self._making)
        self.batches = BatchMetrics(self._making)
        self.cache = CacheMetrics(self._making)
        self.models = ModelMetrics(self._making)

    def not_loaded(self, model: str) -> None:
        """Mark the model unloaded, and drop the gauges of its queue."""
        self.models.not_loaded(model)
        self.calls.queue_gone(model)

    def forget(self, model: str) -> None:
        """Drop all series of a model that was removed: its name may be one of many that come and go."""
        self._making.forget(model)


def _forget(model: str, *metrics: MetricWrapperBase) -> None:
    for metric in metrics:
        with suppress(KeyError):  # the model has no series of it
            metric.remove(model)
