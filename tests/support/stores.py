"""Stores of endpoints, and waiting for what others do to them."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self

from proxy.inference.configuration import EndpointConfig
from proxy.inference.store import EndpointStore, StoredEndpoint

TIMEOUT_S = 20.0
"""For what must happen; it is spent only by a test that fails."""


def endpoint(inference_id: str, *, top_n: int | None = None, **secrets: Any) -> EndpointConfig:
    """One as a service would have parsed it."""
    return EndpointConfig(
        inference_id=inference_id,
        service="cohere",
        service_settings={"model_id": "rerank-v3.5", "rate_limit": {"requests_per_minute": 10000}},
        task_settings={} if top_n is None else {"top_n": top_n},
        secrets=secrets,
        internal={"api_version": "V2"},
    )


class Watched(AbstractAsyncContextManager["Watched"]):
    """A store from start to close."""

    def __init__(self, store: EndpointStore) -> None:
        self.store = store
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.store.start(self._changed.set)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.store.close()

    @property
    def all(self) -> Mapping[str, StoredEndpoint]:
        return self.store.all()

    @property
    def configs(self) -> dict[str, EndpointConfig]:
        return {inference_id: stored.config for inference_id, stored in self.all.items()}

    def version(self, inference_id: str) -> Any:
        return self.all[inference_id].version

    async def until(self, condition: Callable[[Mapping[str, StoredEndpoint]], bool]) -> None:
        """Wait until the store has noticed a change after which this holds."""
        async with asyncio.timeout(TIMEOUT_S):
            while not condition(self.all):
                self._changed.clear()
                await self._changed.wait()
