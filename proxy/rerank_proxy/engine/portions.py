"""Calls with very many texts, in portions, so that no step of the event loop is a long one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

_T = TypeVar("_T")

TEXTS_OF_A_PORTION: Final = 2048
"""What the event loop does for so many texts takes some 20 ms; a search has a window of fewer."""


async def in_portions(texts: Sequence[str], work: Callable[[Sequence[str]], Awaitable[_T]]) -> list[_T]:
    """Return what `work` makes of each portion, in order. While one is scored the next one is tokenised."""
    portions = [texts[at : at + TEXTS_OF_A_PORTION] for at in range(0, len(texts), TEXTS_OF_A_PORTION)]
    results: list[_T] = []
    under_way: list[asyncio.Future[_T]] = []
    try:
        for portion in portions:
            under_way.append(asyncio.ensure_future(work(portion)))
            if len(under_way) > 1:
                results.append(await under_way[0])
                del under_way[0]
        return [*results, *[await future for future in under_way]]
    finally:
        for future in under_way:
            future.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
