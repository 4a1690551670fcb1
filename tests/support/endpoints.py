"""Endpoints over an engine of the test's choice, without a store."""

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.engine import Engine, Reservation
from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.endpoints import Endpoints
from rerank_proxy.inference.failures import not_found
from rerank_proxy.inference.local_models import LocalModels
from rerank_proxy.inference.service import ServiceContext
from rerank_proxy.inference.store import (
    EndpointStore,
    ReadOnlyStore,
    StoredEndpoint,
    already_exists,
    changed_meanwhile,
)
from rerank_proxy.services.elasticsearch import ElasticsearchService
from rerank_proxy.services.preconfigured import preconfigured_endpoints
from rerank_proxy.settings import EndpointSettings, ModelSettings

LATE: Final = Deadline(1e9, "30s", "[search.timeout_s: 30s]")
"""At a point in time on the loop's clock that no test sees."""


class LoadedModels:
    """The part of an engine that is about loading, where every model is loaded."""

    def reserve(self, model: str, holder: str, reservation: Reservation) -> None:
        """Do nothing: the model is there."""

    def release(self, model: str, holder: str) -> None:
        """Do nothing: the model stays there."""

    async def wait_ready(self, model: str, deadline: float | None = None) -> None:
        """Return: the model is there already."""


class Limited(ElasticsearchService):
    """The service `elasticsearch`, as if its task had a setting `top_n`."""

    limit: int | None = None

    def top_n(self, config: EndpointConfig) -> int | None:
        return self.limit


class MemoryStore:
    """A store in memory."""

    readable = True

    def __init__(self) -> None:
        self._kept: dict[str, StoredEndpoint] = {}
        self._changed: Callable[[], None] = lambda: None
        self._version = 0

    async def start(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    async def close(self) -> None:
        """Do nothing: nothing is open."""

    def all(self) -> Mapping[str, StoredEndpoint]:
        return self._kept

    async def refresh(self) -> None:
        """Do nothing: the store is always fresh."""

    async def create(self, config: EndpointConfig) -> None:
        if config.inference_id in self._kept:
            raise already_exists(config.inference_id)
        self._put(config)

    async def replace(self, config: EndpointConfig, version: Any) -> None:
        self._check(config.inference_id, version)
        self._put(config)

    async def delete(self, inference_id: str, version: Any) -> None:
        self._check(inference_id, version)
        del self._kept[inference_id]
        self._changed()

    def _check(self, inference_id: str, version: Any) -> None:
        if inference_id not in self._kept:
            raise not_found(inference_id)
        if self._kept[inference_id].version != version:
            raise changed_meanwhile(inference_id)

    def _put(self, config: EndpointConfig) -> None:
        self._version += 1
        self._kept[config.inference_id] = StoredEndpoint(config, self._version)
        self._changed()


def local_endpoints(
    settings: Mapping[str, EndpointSettings],
    engine: Any,
    timeout_s: float = 30.0,
    top_n: int | None = None,
    store: EndpointStore | None = None,
) -> Endpoints:
    """Return the endpoints of the settings.

    Args:
        engine: Anything with the methods of an `Engine` that endpoints use.
        top_n: The most results that each is configured to give.
    """
    sources = {each.model: ModelSettings(source="none") for each in settings.values() if each.model}
    models = LocalModels(sources)
    service = Limited(ServiceContext(engine=cast("Engine", engine), models=models))
    service.limit = top_n
    services = {service.name: service}
    return Endpoints(services, preconfigured_endpoints(services, settings, models), store or ReadOnlyStore())
