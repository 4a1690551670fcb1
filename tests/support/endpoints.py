"""Endpoints over an engine of the test's choice, without a store."""

from collections.abc import Mapping
from typing import Any, cast

from proxy.engine import Engine
from proxy.inference.configuration import EndpointConfig
from proxy.inference.endpoints import Endpoints
from proxy.inference.fixed import fixed_endpoints
from proxy.inference.remote import RemoteClient
from proxy.inference.service import ServiceContext
from proxy.inference.services.elasticsearch import ElasticsearchService
from proxy.inference.store import ReadOnlyStore
from proxy.settings import EndpointSettings, RemoteSettings


class Limited(ElasticsearchService):
    """As if the task had a setting `top_n`."""

    limit: int | None = None

    def top_n(self, config: EndpointConfig) -> int | None:
        return self.limit


def local_endpoints(
    settings: Mapping[str, EndpointSettings], engine: Any, timeout_s: float = 30.0, top_n: int | None = None
) -> Endpoints:
    """The endpoints of the settings.

    Args:
        engine: Anything with the methods of an `Engine` that endpoints use.
        top_n: The most results that each is configured to give.
    """
    service = Limited(ServiceContext(cast("Engine", engine), timeout_s, RemoteClient(RemoteSettings())))
    service.limit = top_n
    services = {service.name: service}
    return Endpoints(services, fixed_endpoints(services, settings), ReadOnlyStore())
