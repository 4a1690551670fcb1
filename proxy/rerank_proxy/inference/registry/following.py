"""Stores that other processes write to as well, and that are polled for that reason."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, Final

from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.inference.failures import InferenceFailedError, status_error
from rerank_proxy.inference.registry.documents import DamagedError, decode, from_document
from rerank_proxy.inference.registry.key_ring import KeyRing
from rerank_proxy.inference.store import StoredEndpoint

logger = logging.getLogger(__name__)

_MAX_NAMES: Final = 20


class FollowingStore(ABC):
    """An `EndpointStore` that is read again from time to time.

    While it cannot be read, the endpoints that were read before are served. So they are when the file or
    index is gone altogether, which is more often a mistake than intended; to have no endpoints, delete them.
    Reading and writing take turns, so that an old state never replaces a newer one.

    Args:
        refresh_s: Seconds between two polls.
        where: The file or index that holds the endpoints, for the log.
    """

    def __init__(self, refresh_s: float, where: str) -> None:
        self._refresh_s: Final = refresh_s
        self._where: Final = where
        self._turn: Final = asyncio.Lock()
        self._endpoints: Mapping[str, StoredEndpoint] = {}
        self._changed: Callable[[], None] = lambda: None
        self._began_s = float("-inf")
        self._polling = BackgroundTasks()
        self._failure: InferenceFailedError | None = None
        self._lost = False
        self._complaints: dict[str, str] = {}

    @abstractmethod
    async def _read(self) -> Mapping[str, StoredEndpoint] | None:
        """Return all endpoints by id; None when the file or index does not exist. Called in its turn.

        Raises:
            InferenceFailedError: They cannot be read.
        """

    async def start(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        await self._poll()
        self._polling.start(self._poll_forever())

    async def close(self) -> None:
        await self._polling.cancel()

    @property
    def readable(self) -> bool:
        return self._failure is None and not self._lost

    def all(self) -> Mapping[str, StoredEndpoint]:
        return self._endpoints

    async def refresh(self) -> None:
        asked_s = asyncio.get_running_loop().time()
        async with self._turn:
            if self._began_s < asked_s:
                await self._read_again()
            elif self._failure is not None:  # of another call, which read while this one waited for its turn
                raise self._failure

    async def _read_again(self, written: str | None = None) -> None:
        """Read what is stored and follow it. The caller holds the turn.

        Args:
            written: The id of the endpoint that this process has just written.

        Raises:
            InferenceFailedError: It cannot be read, which is logged once.
        """
        self._began_s = asyncio.get_running_loop().time()
        try:
            endpoints = await self._read()
        except InferenceFailedError as failure:
            if str(failure) != str(self._failure):
                logger.error("%s [%s]", failure, self._where)
            self._failure = failure
            raise
        if self._failure is not None:
            self._failure = None
            logger.info("the registry of inference endpoints can be read again")
        was_lost, self._lost = self._lost, endpoints is None and bool(self._endpoints)
        if not self._lost:
            self._follow_to(endpoints or {}, written)
        elif not was_lost:
            logger.error("%s [%s]", self._loss(), self._where)

    def _follow_to(self, endpoints: Mapping[str, StoredEndpoint], written: str | None) -> None:
        gone = self._endpoints.keys() - endpoints.keys() - self._complaints.keys() - {written}
        if gone:
            logger.warning("gone from the registry: inference endpoints %s [%s]", _listed(gone), self._where)
        if endpoints != self._endpoints:
            self._endpoints = endpoints
            self._changed()

    def _refuse_loss(self, *, exists: bool) -> None:
        """Refuse to write where the file or index is gone, and with it endpoints that were not deleted.

        Raises:
            InferenceFailedError: 500.
        """
        if not exists and self._endpoints:
            raise status_error(500, self._loss())

    def _loss(self) -> str:
        return (
            "What held the registry of inference endpoints is gone. Those that were read from it go on: "
            f"{_listed(self._endpoints)}. Restore it, or start the proxy again to begin anew"
        )

    async def _poll(self) -> None:
        try:
            async with self._turn:
                await self._read_again()
        except InferenceFailedError:
            pass  # which is logged
        except Exception:
            # A defect here must neither end the polling nor keep the proxy from starting.
            logger.exception("internal error: the registry of inference endpoints was not read")

    async def _read_back(self, written: str) -> None:
        """Read after a write, in its turn. When this fails, the next poll finds what was written."""
        with suppress(InferenceFailedError):
            await self._read_again(written)

    async def _poll_forever(self) -> None:
        while True:
            await asyncio.sleep(self._refresh_s)
            await self._poll()

    def _decoded(
        self, documents: Mapping[str, tuple[bytes | DamagedError, Any]], keys: KeyRing | None
    ) -> dict[str, StoredEndpoint]:
        """Return the endpoints of documents. A damaged one is left out, and logged once.

        Args:
            documents: Their JSON, or why it could not be fetched, and their versions.
        """
        decoded: dict[str, StoredEndpoint] = {}
        complaints: dict[str, str] = {}
        for inference_id, (document, version) in documents.items():
            try:
                decoded[inference_id] = from_document(inference_id, decode(document), keys, version)
            except DamagedError as error:
                complaints[inference_id] = f"is damaged and left out until it is repaired: {error}"
                continue
            if (failure := decoded[inference_id].failure) is not None:
                complaints[inference_id] = f"cannot be used: {failure}"
        self._complain(complaints)
        return decoded

    def _complain(self, complaints: dict[str, str]) -> None:
        new = [name for name, complaint in complaints.items() if self._complaints.get(name) != complaint]
        for inference_id in new[:_MAX_NAMES]:
            logger.error("inference endpoint [%s] of the registry %s", inference_id, complaints[inference_id])
        if len(new) > _MAX_NAMES:
            logger.error("and %d more inference endpoints of the registry like these", len(new) - _MAX_NAMES)
        self._complaints = complaints


def _listed(names: Collection[str]) -> str:
    first = ", ".join(f"[{name}]" for name in sorted(names)[:_MAX_NAMES])
    return first if len(names) <= _MAX_NAMES else f"{first} and {len(names) - _MAX_NAMES} more"
