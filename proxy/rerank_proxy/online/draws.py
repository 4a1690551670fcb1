"""What chance says of a search: the part that it takes in a comparison, the same for each of its pages."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Literal

from rerank_proxy.wildcards import matches

Mode = Literal["reranked", "shadow", "interleaved"]
"""The part that a search takes: it is reranked as ever; it keeps its first-stage order and is scored for
comparison alone; its answer has both orders in one list."""

_PURPOSE: Final = b"online"
_SHARE_BYTES: Final = 8
_SHARES: Final = 2**53
"""Different shares: as many as a float tells apart between 0 and 1, so that none is rounded to 1."""


@dataclass(frozen=True, slots=True)
class Draw:
    """What was drawn for a search.

    Attributes:
        share: From 0 to 1, without 1: where the search lies among all.
        coins: What the coins of its interleaving are thrown by.
    """

    share: float
    coins: int


def draw(seed: bytes, parts: Iterable[bytes]) -> Draw:
    """Draw for a search by what makes it that search, and not by its page.

    Args:
        seed: Other seeds give other draws; of 64 bytes at most.
        parts: The caller, the session, the indices and the query, for example.
    """
    digest = blake2b(key=seed, person=_PURPOSE)
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    drawn = digest.digest()
    share, coins = drawn[:_SHARE_BYTES], drawn[_SHARE_BYTES:]
    return Draw((int.from_bytes(share) >> 11) / _SHARES, int.from_bytes(coins))


@dataclass(frozen=True, slots=True)
class Part:
    """Which searches take part in a comparison.

    Args:
        share: Of the searches of these indices, from 0 to 1.
        indices: Patterns; `*` stands for any characters.
    """

    share: float
    indices: Sequence[str]

    def has(self, index: str, at: float) -> bool:
        """Return whether a search takes part.

        Args:
            index: Its index expression; each name in it has to match a pattern, but for what it leaves out.
            at: Where it lies among all, from 0 to 1.
        """
        return at < self.share and all(
            self._matches(name) for name in index.split(",") if not name.startswith("-")
        )

    def _matches(self, name: str) -> bool:
        return any(matches(pattern, name) for pattern in self.indices)


def mode_of(index: str, share: float, shadow: Part, interleaved: Part) -> Mode:
    """Return the part that a search takes.

    The shares of the two are counted from different ends, so that they have no search in common as long as
    they come to no more than 1 together; beyond that a search is scored in the shadow.

    Args:
        share: Of its draw.
    """
    if shadow.has(index, share):
        return "shadow"
    return "interleaved" if interleaved.has(index, (_SHARES - 1) / _SHARES - share) else "reranked"
