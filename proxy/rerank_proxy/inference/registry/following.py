"""What stores have in common that others write to as well: they look again and again."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, Final

from rerank_proxy.inference.failures import InferenceFailedError, status_error
from rerank_proxy.inference.registry.documents import DamagedError, decode, from_document
from rerank_proxy.inference.registry.key_ring import KeyRing
from rerank_proxy.inference.store import StoredEndpoint

logger = logging.getLogger(__name__)


_MAX_NAMES: Final = 20


class FollowingStore(ABC):
    """An `EndpointStore` that reads now and then.

    What cannot be read changes nothing: the endpoints that were read before go on. So they do when what held
    them is gone altogether, which is a mistake more often than a wish; to have no endpoints, delete them.
    Reading and writing take turns, so that an old state never takes the place of a newer one.

    Args:
        refresh_s: Seconds between two looks.
        where: What holds the endpoints, for the log.
    """

    def __init__(self, refresh_s: float, where: str) -> None:
        self._refresh_s: Final = refresh_s
        self._where: Final = where
        self._turn: Final = asyncio.Lock()
        self._endpoints: Mapping[str, StoredEndpoint] = {}
        self._changed: Callable[[], None] = lambda: None
        self._began_s = float("-inf")
        self._task: asyncio.Task[None] | None = None
        self._failure: InferenceFailedError | None = None
        self._lost = False
        self._complaints: dict[str, str] = {}

    @abstractmethod
    async def _read(self) -> Mapping[str, StoredEndpoint] | None:
        """All endpoints by id; None when what would hold them does not exist. Called by one at a time.

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
            elif self._failure is not None:  # another call has read since, while this one waited for its turn
                raise self._failure

    async def _read_again(self, written: str | None = None) -> None:
        """In one's turn.

        Args:
            written: The id of what this process has just written.

        Raises:
            InferenceFailedError: It cannot be read; the log has it, once.
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
        """Before a write. Raises: InferenceFailedError: What held the endpoints is gone, not they from it."""
        if not exists and self._endpoints:
            raise status_error(500, self._loss())

    def _loss(self) -> str:
        return (
            "What held the registry of inference endpoints is gone. Those that were read from it go on: "
            f"{_listed(self._endpoints)}. Restore it, or start the proxy again to begin anew"
        )

    async def _look(self) -> None:
        try:
            async with self._turn:
                await self._read_again()
        except InferenceFailedError:
            pass  # the log has it
        except Exception:
            # A defect of ours in one look must neither be the last one nor keep the proxy from starting.
            logger.exception("looking at the registry of inference endpoints failed in the proxy itself")

    async def _read_back(self, written: str) -> None:
        """After a write, in its turn. What is written stays so when this fails; the next look finds it."""
        with suppress(InferenceFailedError):
            await self._read_again(written)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._refresh_s)
            await self._look()

    def _decoded(
        self, documents: Mapping[str, tuple[bytes | DamagedError, Any]], keys: KeyRing | None
    ) -> dict[str, StoredEndpoint]:
        """Endpoints from JSON, or why there is none, and versions.

        A damaged one is left out; the log tells it once.
        """
        decoded: dict[str, StoredEndpoint] = {}
        complaints: dict[str, str] = {}
        for inference_id, (document, version) in documents.items():
            try:
                decoded[inference_id] = from_document(inference_id, decode(document), keys, version)
            except DamagedError as error:
                complaints[inference_id] = f"is damaged and left out until it is put right: {error}"
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
