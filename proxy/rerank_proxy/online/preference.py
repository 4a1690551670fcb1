"""What wins and losses say: how often users prefer an order, and how sure that is."""

from math import sqrt
from typing import Final, NamedTuple

_DEVIATIONS: Final = 1.96
"""Within so many standard deviations are 95 % of a normal distribution."""


class Preference(NamedTuple):
    """The share of decided searches that an order wins, with its interval of 95 % confidence."""

    share: float
    low: float
    high: float


def preference(wins: int, losses: int) -> Preference | None:
    """Return the share of wins with its interval, which is Wilson's; None where nothing is decided.

    It leaves out one half just where the sign test finds that wins and losses differ by more than chance.
    """
    decided = wins + losses
    if not decided:
        return None
    share = wins / decided
    more = _DEVIATIONS**2 / decided
    middle = (share + more / 2) / (1 + more)
    half = _DEVIATIONS * sqrt((share * (1 - share) + more / 4) / decided) / (1 + more)
    return Preference(share, middle - half, middle + half)
