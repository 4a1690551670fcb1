"""The memory that the weights of loaded models may take together, and which model makes room for another."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from rerank_proxy.engine.errors import EngineClosedError, ModelLoadError


class Resident(Protocol):
    """A model that has a share of the memory, or wants one."""

    name: str

    @property
    def kept_loaded(self) -> bool:
        """Return whether it is loaded all the time."""

    @property
    def evictable(self) -> bool:
        """Return whether it may be unloaded now: it is loaded, not kept loaded, and no call waits for it."""

    @property
    def need(self) -> tuple[bool, float]:
        """Order models by need: those without calls come first, and of these the least recently used."""

    def evict(self) -> None:
        """Unload it. Its share leaves, and is given back when the calls under way have ended."""


class Share:
    """A part of the memory, to be given back.

    Attributes:
        serves: Its model has been loaded, and is the one that serves: what can be unloaded. A model that is
            loaded again has another share meanwhile, which does not.
        leaves: It will be given back soon.
    """

    def __init__(self, memory: "ModelMemory", owner: Resident, size_bytes: int) -> None:
        self._memory = memory
        self.owner = owner
        self.size_bytes = size_bytes
        self.serves = False
        self.leaves = False

    def settle(self, size_bytes: int) -> None:
        """Correct an estimate by what the model really takes."""
        self.size_bytes = size_bytes
        self._memory.changed()

    def give_back(self) -> None:
        """Return the share. Does nothing when it was returned before."""
        self._memory.remove(self)


class ModelMemory:
    """Shares out memory among models. Belongs to the event loop.

    Args:
        capacity_bytes: The most of all shares together; None for no limit.
    """

    def __init__(self, capacity_bytes: int | None) -> None:
        self._capacity_bytes = capacity_bytes
        self._shares: list[Share] = []
        self._turn = asyncio.Lock()  # The first that waits for room is the first that gets it.
        self._change = asyncio.Event()
        self._closed = False

    async def take(self, owner: Resident, size_bytes: int, wanted: Callable[[], bool]) -> Share:
        """Return a share as soon as there is room. Models that are needed least are unloaded for it.

        Args:
            wanted: Return whether the model is still to be loaded.

        Raises:
            ModelLoadError: There will be no room: models that are kept loaded leave too little.
            EngineClosedError: It is no longer wanted.
        """
        async with self._turn:
            while True:
                if self._closed or not wanted():
                    raise EngineClosedError(f"model [{owner.name}] is no longer to be loaded")
                if self._make_room(owner, size_bytes):
                    share = Share(self, owner, size_bytes)
                    self._shares.append(share)
                    return share
                self._change.clear()
                await self._change.wait()

    def changed(self) -> None:
        """Look again whether there is room: a model may have become evictable, or is closed."""
        self._change.set()

    def remove(self, share: Share) -> None:
        """Take a share back."""
        if share in self._shares:
            self._shares.remove(share)
            self.changed()

    def close(self) -> None:
        """End all waiting."""
        self._closed = True
        self.changed()

    def _make_room(self, owner: Resident, size_bytes: int) -> bool:
        """Return whether there is room. Otherwise unload as many models as it takes.

        Raises:
            ModelLoadError: As `take`.
        """
        if self._capacity_bytes is None:
            return True
        missing = _total(self._shares) + size_bytes - self._capacity_bytes
        if missing <= 0:
            return True
        staying = [share for share in self._shares if not share.leaves]
        kept = [share for share in staying if share.owner.kept_loaded or share.owner is owner]
        if _total(kept) + size_bytes > self._capacity_bytes:
            raise ModelLoadError(_too_little(size_bytes, self._capacity_bytes, kept))
        missing -= _total(self._shares) - _total(staying)
        for share in sorted(filter(_is_evictable, staying), key=lambda share: share.owner.need):
            if missing <= 0:
                break
            missing -= share.size_bytes
            share.owner.evict()
        return _total(self._shares) + size_bytes <= self._capacity_bytes


def _total(shares: list[Share]) -> int:
    return sum(share.size_bytes for share in shares)


def _is_evictable(share: Share) -> bool:
    return share.serves and share.owner.evictable


def _too_little(size_bytes: int, capacity_bytes: int, kept: list[Share]) -> str:
    names = ", ".join(f"[{share.owner.name}] {_megabytes(share.size_bytes)}" for share in kept)
    taken = f", of which models that stay loaded take {names}" if kept else ""
    return (
        f"its weights take {_megabytes(size_bytes)}, and engine.model_memory is "
        f"{_megabytes(capacity_bytes)}{taken}: raise it, or keep fewer models loaded"
    )


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1024 / 1024:.0f} MiB"
