"""Whether differences are chance: beside scipy, and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rerank_proxy.relevance.statistics import FEWEST, bootstrap_interval, compare, holm, randomisation_p
from tests.support.examples import examples

DIFFERENCES = st.lists(st.floats(-1, 1).map(lambda value: round(value, 3)), min_size=1, max_size=40)


def drawn(number: int, mean: float) -> list[float]:
    return list(np.random.default_rng(5).normal(mean, 1.0, number))


@pytest.mark.parametrize(("number", "mean"), [(8, 0.5), (12, 0.0), (60, 0.3), (60, 0.0)])
def test_randomisation_agrees_with_scipy(number: int, mean: float) -> None:
    """Few are counted out, so that they agree exactly; of many both draw some."""
    values = drawn(number, mean)
    theirs = stats.permutation_test(
        (values,), np.sum, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(1)
    )
    exact = number <= 12
    assert randomisation_p(values) == pytest.approx(theirs.pvalue, abs=1e-9 if exact else 0.02)


@pytest.mark.parametrize(("number", "mean"), [(10, 0.2), (80, 0.0)])
def test_the_interval_agrees_with_scipy(number: int, mean: float) -> None:
    values = drawn(number, mean)
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=10_000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert bootstrap_interval(values) == pytest.approx((theirs.low, theirs.high), abs=0.03)


@pytest.mark.parametrize(
    ("ps", "adjusted"),
    [
        ([], []),
        ([0.04], [0.04]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.02, 0.001], [0.02, 0.002]),
    ],
)
def test_the_correction_by_hand(ps: list[float], adjusted: list[float]) -> None:
    assert holm(ps) == pytest.approx(adjusted)


@examples(1)
@given(ps=st.lists(st.floats(0, 1), max_size=12))
def test_the_correction_keeps_the_order_and_makes_nothing_more_certain(ps: list[float]) -> None:
    adjusted = holm(ps)
    assert all(own <= more <= 1 for own, more in zip(ps, adjusted, strict=True))
    assert all(adjusted[a] <= adjusted[b] for a in range(len(ps)) for b in range(len(ps)) if ps[a] < ps[b])


@examples(0.3)
@given(differences=DIFFERENCES)
def test_the_sign_does_not_matter_and_the_same_gives_the_same(differences: list[float]) -> None:
    p = randomisation_p(differences, rounds=500)
    assert 0 < p <= 1
    assert p == randomisation_p(differences, rounds=500)
    assert p == randomisation_p([-each for each in differences], rounds=500)


@examples(0.3)
@given(differences=DIFFERENCES.filter(lambda each: len(each) >= FEWEST))
def test_the_interval_is_within_the_differences_and_the_same_again(differences: list[float]) -> None:
    low, high = bootstrap_interval(differences, rounds=500)
    assert min(differences) - 1e-9 <= low <= high <= max(differences) + 1e-9
    assert (low, high) == bootstrap_interval(differences, rounds=500)


@pytest.mark.parametrize("number", [0, 1, 2, FEWEST - 1])
def test_few_queries_give_no_interval_and_can_prove_nothing(number: int) -> None:
    """All of them agree, and by as much as there is."""
    assert np.isnan(bootstrap_interval([1.0] * number)).all()
    assert randomisation_p([1.0] * number) > 0.05
    assert randomisation_p([1.0] * FEWEST) < 0.05


def test_equal_systems_differ_by_nothing() -> None:
    (found,) = compare([[(0.3, 0.1 + 0.2), (0.5, 0.5)]])
    assert (found.difference, found.p, found.adjusted) == (0.0, 1.0, 1.0)
    assert (found.wins, found.losses, found.ties) == (0, 0, 2)
    assert not found.significant


def test_one_difference_tells_nothing_and_many_alike_tell_much() -> None:
    few, many = compare([[(0.0, 1.0)], [(0.0, 0.1)] * 40])
    assert few.p == 1.0
    assert not few.significant
    assert many.significant
    assert many.difference == pytest.approx(0.1)
    assert (many.wins, many.losses) == (40, 0)
    assert many.adjusted == pytest.approx(2 * many.p)
