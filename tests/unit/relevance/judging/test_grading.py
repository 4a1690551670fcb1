"""From scores to grades."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.relevance.judging.grading import Grading, InvalidGradingError, Way

WAYS: Sequence[Way] = ("thresholds", "quantiles")
SCORES = st.lists(st.floats(-10, 10), min_size=1, max_size=40)


def scored(scores: list[float]) -> dict[tuple[str, str], float]:
    return {("q", str(number)): score for number, score in enumerate(scores)}


def test_a_score_at_a_threshold_reaches_it() -> None:
    grading = Grading(way="thresholds", bounds=(0.5, 1.5, 2.5))
    grades = grading.grades(scored([-1.0, 0.5, 1.4, 1.5, 3.0]))
    assert [*grades.values()] == [0, 1, 1, 2, 3]


def test_quantiles_are_shares_of_all_scores() -> None:
    grading = Grading(way="quantiles", bounds=(0.5, 0.8, 0.9))
    grades = grading.grades(scored([float(number) for number in range(10)]))
    assert [*grades.values()] == [0, 0, 0, 0, 0, 1, 1, 1, 2, 3]


@given(SCORES, st.sampled_from(WAYS))
def test_a_higher_score_has_no_lower_grade(scores: list[float], way: Way) -> None:
    grading = Grading(way=way, bounds=(0.2, 0.5, 0.9))
    grades = [*grading.grades(scored(scores)).values()]
    ordered = sorted(zip(scores, grades, strict=True))
    assert [grade for _, grade in ordered] == sorted(grades)


@given(SCORES)
def test_no_more_texts_get_a_grade_than_its_share(scores: list[float]) -> None:
    different = [*{*scores}]
    grades = [*Grading(way="quantiles", bounds=(0.5, 0.8)).grades(scored(different)).values()]
    assert sum(grade >= 1 for grade in grades) <= 0.5 * len(grades)
    assert sum(grade >= 2 for grade in grades) <= 0.2 * len(grades) + 1e-9


@pytest.mark.parametrize(
    ("way", "bounds", "why"),
    [
        ("thresholds", (), "no bounds"),
        ("thresholds", (1.0, 1.0), "do not ascend"),
        ("thresholds", (2.0, 1.0), "do not ascend"),
        ("thresholds", (float("nan"),), "not a finite number"),
        ("quantiles", (0.5, 1.5), "not all between 0 and 1"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(way: Way, bounds: tuple[float, ...], why: str) -> None:
    with pytest.raises(InvalidGradingError, match=why):
        Grading(way=way, bounds=bounds)
