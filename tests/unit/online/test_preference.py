"""The share of wins, and how sure it is."""

from math import comb, isclose, sqrt

from hypothesis import assume, given
from hypothesis import strategies as st

from rerank_proxy.online.preference import preference

counts = st.integers(0, 100_000)


def test_nothing_is_preferred_before_something_is_decided() -> None:
    assert preference(0, 0) is None


@given(counts, counts)
def test_the_interval_leaves_out_one_half_where_the_sign_test_finds_a_difference(
    wins: int, losses: int
) -> None:
    assume(wins + losses > 0)
    found = preference(wins, losses)
    assert found is not None
    assert -1e-9 <= found.low <= found.share + 1e-9
    assert found.share - 1e-9 <= found.high <= 1 + 1e-9
    deviations = (abs(wins - losses) - 1) / sqrt(wins + losses)
    assert (found.low > 0.5 or found.high < 0.5) == (deviations > 1.96)


def test_no_difference_is_found_that_a_coin_makes_more_than_one_time_in_twenty() -> None:
    """Not of few searches either: the exact binomial test agrees."""
    for decided in range(1, 200):
        for losses in range(decided // 2 + 1):
            found = preference(decided - losses, losses)
            assert found is not None
            if found.low > 0.5:
                assert 2 * sum(comb(decided, each) for each in range(losses + 1)) / 2**decided < 0.05


@given(counts, counts)
def test_losses_are_wins_of_the_other_order(wins: int, losses: int) -> None:
    own, other = preference(wins, losses), preference(losses, wins)
    if own is not None and other is not None:
        assert isclose(own.low, 1 - other.high, abs_tol=1e-9)
