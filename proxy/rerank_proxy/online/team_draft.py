"""Team-draft interleaving: one list of two orders, in which documents count for the order that chose them.

Both orders choose in turn, as captains choose teams: a coin decides who begins each round, and each takes its
best document that is not taken yet (Radlinski, Kurup and Joachims, *How does clickthrough data reflect
retrieval quality?*, CIKM 2008). A user who only looks at what is shown has no reason to prefer a team but its
documents.

Only what both could choose counts. The documents that both have at the top, at the same places, say nothing
of their difference: a coin would divide their clicks, which are most, and drown the others (Chapelle,
Joachims, Radlinski and Yue, *Large-scale validation and analysis of interleaved search evaluation*, TOIS
2012). Nor do those at the end, of which the longer order chose most, because the other had no more.
"""

from collections.abc import Hashable, Sequence
from itertools import takewhile
from random import Random
from typing import Final, Literal, TypeVar

Team = Literal["own", "other"]
"""Which of two orders has chosen a document: the reranker's, or the one that it is compared with."""

T = TypeVar("T", bound=Hashable)

_TEAMS: Final[tuple[Team, Team]] = ("own", "other")


def draft(own: Sequence[T], other: Sequence[T], coins: int) -> list[tuple[T, Team | None]]:
    """Return each document of both orders once, with the team that took it; None where it counts for none.

    Whatever the coins, the documents at the same places are in a team: in each of these rounds one of each
    team, by a fair coin. So users who choose by the place alone prefer no team, however they click.

    Args:
        own, other: Two orders, each without repetitions.
        coins: What the coins are thrown by: equal numbers, equal lists.
    """
    throw = Random(coins)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(own, other, strict=False)))
    # Each round takes two documents at most of an order, so that as many are sure to have two to choose from.
    rounds = (min(len(own), len(other)) - shared) // 2
    taken: dict[T, Team | None] = dict.fromkeys(own[:shared])
    left = [iter(own[shared:]), iter(other[shared:])]
    most = len({*own, *other})
    while len(taken) < most:
        first = throw.getrandbits(1)
        for side in (first, 1 - first):
            for doc in left[side]:
                if doc not in taken:
                    taken[doc] = _TEAMS[side] if rounds > 0 else None
                    break
        rounds -= 1
    return [*taken.items()]
