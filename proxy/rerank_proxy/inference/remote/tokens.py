"""Access tokens that are got with an endpoint's secrets and kept for as long as they are good."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from cachetools import LRUCache

from rerank_proxy.inference.remote.clock import Clock

_EARLY_S: Final = 60.0
_MAX_TOKENS: Final = 1000


@dataclass(frozen=True, slots=True)
class Token:
    """Attributes:
    lifetime_s: Seconds from now on for which it is good.
    """

    value: str = field(repr=False)
    lifetime_s: float


class TokenCache:
    """Tokens by what they were got with. However many callers need the same one, it is fetched once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._good: LRUCache[str, tuple[str, float]] = LRUCache(_MAX_TOKENS)
        self._fetching: dict[str, asyncio.Task[str]] = {}

    async def get(self, key: str, fetch: Callable[[], Awaitable[Token]]) -> str:
        """A token that is good for a minute more at least.

        Args:
            key: Names account and kind of token; a digest, never a secret.
        """
        value, until = self._good.get(key, ("", 0.0))
        if value and self._clock.now() < until - _EARLY_S:
            return value
        task = self._fetching.get(key)
        if task is None:
            task = self._fetching[key] = asyncio.create_task(self._fetch(key, fetch))
            task.add_done_callback(lambda done: self._fetched(key, done))
        # A caller that leaves does not take the token from the others.
        return await asyncio.shield(task)

    def forget(self, key: str) -> None:
        """It was refused."""
        self._good.pop(key, None)

    async def close(self) -> None:
        for task in tuple(self._fetching.values()):
            task.cancel()
        await asyncio.gather(*self._fetching.values(), return_exceptions=True)

    async def _fetch(self, key: str, fetch: Callable[[], Awaitable[Token]]) -> str:
        began = self._clock.now()
        token = await fetch()
        self._good[key] = (token.value, began + token.lifetime_s)
        return token.value

    def _fetched(self, key: str, task: asyncio.Task[str]) -> None:
        self._fetching.pop(key, None)
        if not task.cancelled():
            task.exception()  # its callers have it; without them it is nobody's
