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
    """Return the share of wins with its interval; None where nothing is decided.

    The interval is Wilson's with the correction for continuity (Newcombe, *Two-sided confidence intervals for
    the single proportion*, Statistics in Medicine 1998), without which four wins of four would be sure. It
    leaves out one half just where the sign test, which has the same correction, finds a difference.
    """
    decided = wins + losses
    if not decided:
        return None
    share, half_a_search = wins / decided, 0.5 / decided
    low = _bound(max(share - half_a_search, 0.0), decided, -_DEVIATIONS)
    high = _bound(min(share + half_a_search, 1.0), decided, _DEVIATIONS)
    return Preference(share, low, high)


def _bound(share: float, decided: int, deviations: float) -> float:
    """Return the true share of which an observed one is so many of its standard deviations below."""
    more = deviations**2 / decided
    distance = deviations * sqrt((share * (1 - share) + more / 4) / decided)
    return (share + more / 2 + distance) / (1 + more)
