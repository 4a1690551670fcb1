"""The scores of the `pinned` retriever: pinned documents in their order, above all that the child found."""

import struct
from typing import Final

_MAX_ORGANIC_BITS: Final = 0x7F000000

MAX_ORGANIC_SCORE: Final = 2.0**127
"""The most a document may score that is not pinned (``PinnedQueryBuilder``)."""


def pin_scores(count: int) -> list[float]:
    """What each of `count` pins scores, whether or not the others are found: consecutive float32 numbers,
    the last one two above `MAX_ORGANIC_SCORE`.
    """
    first = _MAX_ORGANIC_BITS + 1 + count
    bits = struct.pack(f"<{count}I", *range(first, first - count, -1))
    return list(struct.unpack(f"<{count}f", bits))


def capped(score: float) -> float:
    """The score of a document that is not pinned."""
    return min(score, MAX_ORGANIC_SCORE)
