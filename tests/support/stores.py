"""Stores of endpoints, and waiting for changes by others."""

import asyncio
import json
import stat
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.failures import InferenceFailedError
from rerank_proxy.inference.registry.documents import to_document
from rerank_proxy.inference.registry.file_store import FileStore
from rerank_proxy.inference.registry.key_ring import KeyRing
from rerank_proxy.inference.store import EndpointStore, StoredEndpoint
from tests.support.raw_http import TIMEOUT_S

ODD_IDS = (
    "line\nfeed",
    "sl/ash",
    "..",
    "%2e%2e",
    "a?b#c",
    "\u2028\u202e",
    "é🦊",
    "_all",
    "*",
    " ",
    "\x00\x7f",
    '"}',
)
"""Ids that no request may create, but that a registry of another version, or another hand, may hold."""


def document_of(config: EndpointConfig, keys: KeyRing | None) -> dict[str, Any]:
    """Return the JSON object that is stored of an endpoint."""
    document: dict[str, Any] = json.loads(bytes(to_document(config, keys)))
    return document


def endpoint(inference_id: str, *, top_n: int | None = None, **secrets: Any) -> EndpointConfig:
    """Return an endpoint as a service would have parsed it."""
    return EndpointConfig(
        inference_id=inference_id,
        service="cohere",
        service_settings={"model_id": "rerank-v3.5", "rate_limit": {"requests_per_minute": 10000}},
        task_settings={} if top_n is None else {"top_n": top_n},
        secrets=secrets,
        internal={"api_version": "V2"},
    )


async def refusal(attempt: Awaitable[None]) -> InferenceFailedError:
    with pytest.raises(InferenceFailedError) as raised:
        await attempt
    return raised.value


def modes(directory: Path) -> dict[str, int]:
    """Return the permissions of the directory, as `.`, and of all files in it."""
    paths = (
        {".": directory, **{path.name: path for path in directory.iterdir()}} if directory.is_dir() else {}
    )
    return {name: stat.S_IMODE(path.stat().st_mode) for name, path in paths.items()}


class Watched(AbstractAsyncContextManager["Watched"]):
    """A store that is started and closed around a block."""

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


def open_file_store(state: Path, keys: KeyRing | None = None, refresh_s: float = 3600.0) -> Watched:
    return Watched(FileStore(state, keys, refresh_s))
