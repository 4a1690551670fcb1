"""Judgments made of clicks: a click further down counts more, by a formula that is stated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.relevance.clicks import Click, ClickModel, judgments_of
from tests.support.examples import examples

CLICKS = st.builds(
    lambda document, position, impressions, share: Click(
        "q", document, position, impressions, int(share * impressions)
    ),
    st.sampled_from("abcd"),
    st.integers(1, 50),
    st.integers(1, 100),
    st.floats(0, 1),
)


def test_a_click_counts_the_more_the_further_down() -> None:
    """Both were clicked in 2 of 10 times, a at the first place, b at the third."""
    clicks = [Click("q", "a", 1, 10, 2), Click("q", "b", 3, 10, 2), Click("q", "c", 2, 10, 0)]
    made = judgments_of(clicks, ClickModel(eta=1.0))
    assert made.queries["1"].text == "q"
    assert made.judgments == {"1": {"a": 1, "b": 3, "c": 0}}
    assert made.clicks == 4
    assert judgments_of(clicks, ClickModel(eta=0.0)).judgments == {"1": {"a": 3, "b": 3, "c": 0}}


@pytest.mark.parametrize(
    ("eta", "position", "weight"), [(1, 4, 4.0), (0.5, 4, 2.0), (0, 4, 1.0), (1, 400, 10.0)]
)
def test_the_weight_is_a_power_with_a_bound(eta: float, position: int, weight: float) -> None:
    assert ClickModel(eta=eta).weight(position) == pytest.approx(weight)


def test_too_few_clicks_are_none_and_counted() -> None:
    clicks = [Click("q", "a", 1, 10, 5), Click("q", "b", 9, 1, 1)]
    made = judgments_of(clicks, ClickModel(min_clicks=2))
    assert made.judgments == {"1": {"a": 3, "b": 0}}
    assert made.dropped == 1


@examples(1)
@given(clicks=st.lists(CLICKS, min_size=1, max_size=20), eta=st.floats(0, 3))
def test_grades_are_within_their_range_and_clicks_alone_give_them(clicks: list[Click], eta: float) -> None:
    (grades,) = judgments_of(clicks, ClickModel(eta=eta)).judgments.values()
    clicked = {each.document for each in clicks if each.clicks}
    assert grades.keys() == {each.document for each in clicks}
    assert all(0 <= grade <= 3 for grade in grades.values())
    assert {name for name, grade in grades.items() if grade} == clicked
    assert max(grades.values()) == (3 if clicked else 0)
