"""How the application is, for the status page: models, queue and cache, endpoints, clicks, recent outcomes.

Bounded, and without secrets: of an endpoint no setting is told but its model.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from rerank_proxy.app.recent import Recent
from rerank_proxy.engine import Engine
from rerank_proxy.inference.endpoints import Endpoints
from rerank_proxy.observe.log_lines import short
from rerank_proxy.services.elasticsearch import ElasticsearchService

MOST: Final = 200
"""Models, and endpoints."""


class Status:
    """Tells it.

    Args:
        online: Returns what clicks have come to.
    """

    def __init__(
        self,
        engine: Engine,
        endpoints: Endpoints,
        recent: Recent,
        online: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._engine = engine
        self._endpoints = endpoints
        self._recent = recent
        self._online = online

    def shown(self) -> dict[str, Any]:
        """Return all of it, ready for JSON."""
        load, workers = self._engine.load, self._engine.workers
        return {
            "models": [*islice(self._models(), MOST)],
            "engine": {
                "queued_texts": load.queued_texts,
                "queued_tokens": load.queued_tokens,
                "workers": workers.running,
                "missing_workers": workers.missing,
                "cache_entries": load.cache_entries,
                "cache_bytes": load.cache_bytes,
            },
            "endpoints": [*islice(self._all_endpoints(), MOST)],
            "online": self._online(),
            "recent": self._recent.shown(),
        }

    def _models(self) -> Iterator[dict[str, Any]]:
        for name, status in self._engine.status().items():
            yield {
                "name": short(name),
                "state": status.state,
                "detail": status.detail,
                "source": status.source,
                "precision": status.precision,
                "bytes": status.size_bytes,
                "last_used_s": None if status.unused_s is None else round(status.unused_s, 1),
            }

    def _all_endpoints(self) -> Iterator[dict[str, Any]]:
        failed = {name for name, status in self._engine.status().items() if status.state == "failed"}
        for each in self._endpoints.opened():
            failure = each.failure
            if each.config.service == ElasticsearchService.name and each.model in failed:
                failure = f"its model [{each.model}] failed"
            reason = failure or each.last_call.trouble
            yield {
                "inference_id": short(each.inference_id),
                "service": short(each.config.service),
                "model": short(each.model),
                "usable": failure is None,
                "reason": None if reason is None else short(reason),
            }
