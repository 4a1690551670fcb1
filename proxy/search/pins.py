"""The `pinned` retriever's list: the pinned documents in their order, and below them what the child found."""

import struct
from collections.abc import Iterable, Sequence
from typing import Final

from proxy.search.fusion import top
from proxy.search.ranking import RankDoc

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


def merge(
    pinned: Iterable[tuple[int, RankDoc]], count: int, organic: Sequence[RankDoc], window: int
) -> list[RankDoc]:
    """Put pinned documents above the child's.

    Args:
        pinned: The documents that were found for the pins, each with its pin's position in the request. A
            pin without an index may have found several; a document that several pins found takes the first.
        count: How many pins the request has, found or not.
        organic: The child's list; the pinned documents may be in it.
        window: The retriever's `rank_window_size`, which pinned documents count towards.

    Returns:
        At most `window` documents by descending score, then shard, then doc; `place` is the rank in there.
    """
    scores = pin_scores(count)
    docs = {_key(doc): doc.scored(capped(doc.score)) for doc in organic}
    for position, doc in sorted(pinned, key=lambda pin: -pin[0]):
        docs[_key(doc)] = doc.scored(scores[position])
    return top(docs.values(), window)


def _key(doc: RankDoc) -> tuple[str, str, int | None]:
    return doc.index, doc.id, doc.shard_doc
