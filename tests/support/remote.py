"""Remote endpoints in front of servers of the test."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

from prometheus_client import CollectorRegistry

from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.engine import Engine
from rerank_proxy.inference.endpoints import Endpoint
from rerank_proxy.inference.local_models import LocalModels
from rerank_proxy.inference.remote.client import RemoteClient
from rerank_proxy.inference.remote.vendor import RemoteContext
from rerank_proxy.inference.service import Service
from rerank_proxy.services.built_in import BUILT_IN
from rerank_proxy.settings import RemoteSettings
from tests.support.raw_http import TIMEOUT_S
from tests.support.vendors import Case, Vendor, serving


class SkippingClock:
    """A clock that begins at the event loop's time and advances only by sleeps, which take no time.

    Attributes:
        slept: The seconds of each sleep.
    """

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._began: float | None = None

    def now(self) -> float:
        if self._began is None:
            self._began = asyncio.get_running_loop().time()
        return self._began + sum(self.slept)

    def wall(self) -> float:
        return 1_700_000_000.0 + sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)

    def jitter(self) -> float:
        return 1.0


class Remote:
    """All services over one client.

    Attributes:
        registry: Holds the client's metrics.
        context: The dependencies of the services.
    """

    def __init__(self, timeout_s: float = TIMEOUT_S, **settings: Any) -> None:
        self.registry = CollectorRegistry()
        self.clock = SkippingClock()
        allowed = {"allowed_hosts": ["vendors", "127.0.0.1"], "allow_private_addresses": True}
        self.client = RemoteClient(RemoteSettings(**{**allowed, **settings}), self.registry, self.clock)
        self.context = RemoteContext(
            engine=cast("Engine", None), models=LocalModels({}), remote=self.client, timeout_s=timeout_s
        )
        self.services: Mapping[str, Service] = {each.name: each(self.context) for each in BUILT_IN}

    def endpoint(
        self,
        service: str,
        service_settings: Mapping[str, Any],
        task_settings: Mapping[str, Any] | None = None,
    ) -> Endpoint:
        """Return the endpoint that there is after `PUT _inference/rerank/mine`."""
        found = self.services[service]
        config = found.parse("mine", service_settings, task_settings or {})
        return Endpoint(config, found.open(config), found.top_n(config), found.window_words(config))

    def deadline(self, seconds: float = TIMEOUT_S) -> Deadline:
        """Return a late deadline, on either clock."""
        late = Deadline.of_setting("search.timeout_s", seconds)
        return replace(late, at=max(late.at, self.clock.now() + seconds))

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"rerank_proxy_remote_{name}", labels) or 0.0


@asynccontextmanager
async def remote_case(
    case: Case, timeout_s: float = TIMEOUT_S, **settings: Any
) -> AsyncIterator[tuple[Remote, Vendor, Endpoint]]:
    """Serve a case, and yield its endpoint.

    Args:
        settings: The section `remote` of the settings.
    """
    async with serving(case.wire) as vendor:
        gateways = {case.service: vendor.url} if case.by_base_url else {}
        remote = Remote(timeout_s, base_urls=gateways, **settings)
        try:
            yield remote, vendor, remote.endpoint(case.service, case.settings(vendor.url), case.task_settings)
        finally:
            await remote.client.close()
