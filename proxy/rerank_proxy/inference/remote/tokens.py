"""Access tokens, which an endpoint's secrets are exchanged for, kept for as long as they are valid."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from cachetools import LRUCache

from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.inference.remote.clock import Clock

_EARLY_S: Final = 60.0
_MAX_TOKENS: Final = 1000


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it was issued.

    Attributes:
        lifetime_s: Seconds from now on for which it is valid.
    """

    value: str = field(repr=False)
    lifetime_s: float


class TokenCache:
    """Tokens by their account. However many callers need the same one, it is fetched once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._valid: LRUCache[str, tuple[str, float]] = LRUCache(_MAX_TOKENS)
        self._fetching: dict[str, asyncio.Task[str]] = {}
        self._tasks = BackgroundTasks()

    async def get(self, key: str, fetch: Callable[[], Awaitable[Token]]) -> str:
        """Return a token that is valid for a minute more at least.

        Args:
            key: Names the account; a digest, never a secret.
        """
        value, until = self._valid.get(key, ("", 0.0))
        if value and self._clock.now() < until - _EARLY_S:
            return value
        task = self._fetching.get(key)
        if task is None:
            task = self._fetching[key] = self._tasks.start(self._fetch(key, fetch))
            task.add_done_callback(lambda done: self._fetched(key, done))
        # A caller that leaves does not take the token from the others.
        return await asyncio.shield(task)

    def forget(self, key: str) -> None:
        """Drop a token that was refused."""
        self._valid.pop(key, None)

    async def close(self) -> None:
        await self._tasks.cancel()

    async def _fetch(self, key: str, fetch: Callable[[], Awaitable[Token]]) -> str:
        began = self._clock.now()
        token = await fetch()
        self._valid[key] = (token.value, began + token.lifetime_s)
        return token.value

    def _fetched(self, key: str, task: asyncio.Task[str]) -> None:
        self._fetching.pop(key, None)
        if not task.cancelled():
            task.exception()  # asyncio would complain of a failure that no caller is left to see
