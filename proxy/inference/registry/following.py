"""What stores have in common that others write to as well: they look again and again."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from proxy.inference.failures import InferenceFailedError
from proxy.inference.registry.documents import DamagedError, from_document
from proxy.inference.registry.key_ring import KeyRing
from proxy.inference.store import StoredEndpoint

logger = logging.getLogger(__name__)


class FollowingStore(ABC):
    """An `EndpointStore` that reads now and then.

    What cannot be read changes nothing: the endpoints that were read before go on. Reading and writing take
    turns, so that an old state never takes the place of a newer one.

    Args:
        refresh_s: Seconds between two looks.
    """

    def __init__(self, refresh_s: float) -> None:
        self._refresh_s: Final = refresh_s
        self._turn: Final = asyncio.Lock()
        self._endpoints: Mapping[str, StoredEndpoint] = {}
        self._changed: Callable[[], None] = lambda: None
        self._began_s = float("-inf")
        self._task: asyncio.Task[None] | None = None
        self._failure: InferenceFailedError | None = None
        self._complaints: dict[str, str] = {}

    @abstractmethod
    async def _read(self) -> Mapping[str, StoredEndpoint]:
        """All endpoints by id; called by one at a time.

        Raises:
            InferenceFailedError: They cannot be read.
        """

    async def start(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        await self._look()
        self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def all(self) -> Mapping[str, StoredEndpoint]:
        return self._endpoints

    async def refresh(self) -> None:
        asked_s = asyncio.get_running_loop().time()
        async with self._turn:
            if self._began_s < asked_s:
                await self._read_again()
            elif self._failure is not None:  # somebody has read since, while this call waited for its turn
                raise self._failure

    async def _read_again(self) -> None:
        """In one's turn. Raises: InferenceFailedError: It cannot be read; the log has it, once."""
        self._began_s = asyncio.get_running_loop().time()
        try:
            endpoints = await self._read()
        except InferenceFailedError as failure:
            if self._failure is None:
                logger.error("%s", failure.in_full or failure)
            self._failure = failure
            raise
        if self._failure is not None:
            self._failure = None
            logger.info("the registry of inference endpoints can be read again")
        if endpoints != self._endpoints:
            self._endpoints = endpoints
            self._changed()

    async def _look(self) -> None:
        with suppress(InferenceFailedError):
            async with self._turn:
                await self._read_again()

    async def _read_back(self) -> None:
        """After a write, in its turn. What is written stays so when this fails; the next look finds it."""
        with suppress(InferenceFailedError):
            await self._read_again()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._refresh_s)
            try:
                await self._look()
            except Exception:
                # A defect of ours in one look must not be the last one.
                logger.exception("looking at the registry of inference endpoints failed in the proxy itself")

    def _decoded(
        self, documents: Mapping[str, tuple[Any, Any]], keys: KeyRing | None
    ) -> dict[str, StoredEndpoint]:
        """Endpoints from documents and their versions. A damaged one is left out; the log tells once."""
        decoded: dict[str, StoredEndpoint] = {}
        complaints: dict[str, str] = {}
        for inference_id, (document, version) in documents.items():
            try:
                decoded[inference_id] = from_document(inference_id, document, keys, version)
            except DamagedError as error:
                complaints[inference_id] = f"is damaged and left out until it is put right: {error}"
                continue
            if (failure := decoded[inference_id].failure) is not None:
                complaints[inference_id] = f"cannot be used: {failure}"
        self._complain(complaints)
        return decoded

    def _complain(self, complaints: dict[str, str]) -> None:
        for inference_id, complaint in complaints.items():
            if self._complaints.get(inference_id) != complaint:
                logger.error("inference endpoint [%s] of the registry %s", inference_id, complaint)
        self._complaints = complaints
