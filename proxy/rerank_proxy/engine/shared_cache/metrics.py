"""The metrics of the shared cache; how often it had a model's outputs is in `EngineMetrics`."""

from prometheus_client import CollectorRegistry, Counter, Gauge

_NAME = "rerank_proxy_engine_shared_cache"


class SharedCacheMetrics:
    """Metrics of one shared cache, in a registry of its own unless one is given."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = CollectorRegistry() if registry is None else registry
        self.used = Gauge(f"{_NAME}_used", "1 while the shared cache is used.", registry=registry)
        self.errors = Counter(
            f"{_NAME}_errors", "What went wrong with the shared cache.", ["reason"], registry=registry
        )
        self.written = Counter(f"{_NAME}_written", "Outputs that were written.", registry=registry)
        self.dropped = Counter(f"{_NAME}_dropped", "Outputs that were not written.", registry=registry)
