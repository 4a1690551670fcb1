"""Open the shared cache that the settings name, without importing what it needs until it is started."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Final

from prometheus_client import CollectorRegistry

from rerank_proxy.engine.metrics import EngineMetrics
from rerank_proxy.engine.rows import Output
from rerank_proxy.engine.shared_cache.metrics import SharedCacheMetrics
from rerank_proxy.engine.shared_cache.shared_cache import SharedCache
from rerank_proxy.engine.shared_cache.store import Store
from rerank_proxy.settings.sections.shared_cache import SharedCacheSettings
from rerank_proxy.settings.values import InvalidSettingsError

EXTRA: Final = "pip install 'rerank-proxy[shared-cache]'"


def open_shared_cache(
    settings: SharedCacheSettings,
    found: Callable[[bytes, Output], None],
    metrics: EngineMetrics,
    registry: CollectorRegistry | None,
) -> SharedCache | None:
    """Return the shared cache, to be started; None if the settings name none.

    Args:
        found: Called with every output that was found in it.

    Raises:
        InvalidSettingsError: The library that it needs is not installed.
    """
    shared = SharedCacheMetrics(registry)
    if settings.url is None:
        return None
    if find_spec("redis") is None:
        raise InvalidSettingsError(f"[engine.shared_cache.url] needs the Python package redis: {EXTRA}")

    def open_store() -> Store:
        from rerank_proxy.engine.shared_cache.redis_store import RedisStore

        return RedisStore(settings)

    return SharedCache(open_store, settings, found, metrics, shared)
