"""Team-draft interleaving: one list of two orders, in which each document counts for one of them.

Both orders choose in turn, as captains choose teams: a coin decides who begins each round, and each takes its
best document that is not taken yet (Radlinski, Kurup and Joachims, *How does clickthrough data reflect
retrieval quality?*, CIKM 2008). A user who only looks at what is shown has no reason to prefer a team but its
documents.
"""

from collections.abc import Hashable, Sequence
from random import Random
from typing import Literal, TypeVar

Team = Literal["own", "other"]
"""Which of two orders has chosen a document: the reranker's, or the one that it is compared with."""

T = TypeVar("T", bound=Hashable)


def draft(own: Sequence[T], other: Sequence[T], coins: int) -> list[tuple[T, Team]]:
    """Return each document of both orders once, with the team that took it.

    Once an order has no further documents, the other goes on alone.

    Args:
        own, other: Two orders, each without repetitions.
        coins: What the coins are thrown by: equal numbers, equal lists.
    """
    throw = Random(coins)
    sides: tuple[tuple[Team, Sequence[T]], ...] = (("own", own), ("other", other))
    taken: dict[T, Team] = {}
    ahead, teams = [0, 0], [0, 0]
    while True:
        for side, (_, order) in enumerate(sides):
            while ahead[side] < len(order) and order[ahead[side]] in taken:
                ahead[side] += 1
        able = [side for side, (_, order) in enumerate(sides) if ahead[side] < len(order)]
        if not able:
            return [*taken.items()]
        side = _next(able, teams, throw)
        team, order = sides[side]
        taken[order[ahead[side]]] = team
        teams[side] += 1


def _next(able: Sequence[int], teams: Sequence[int], throw: Random) -> int:
    """Return whose turn it is: of the smaller team, or of the coin's choice."""
    if len(able) == 1:
        return able[0]
    if teams[0] == teams[1]:
        return throw.getrandbits(1)
    return 0 if teams[0] < teams[1] else 1
