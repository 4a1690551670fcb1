"""Judgments made of clicks: a click further down counts more, by a formula that is stated."""

import random
from collections import Counter

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


@pytest.mark.parametrize("counted", [True, False])
def test_where_clicks_alone_were_recorded_the_documents_count_as_shown_equally_often(counted: bool) -> None:
    """A click for each time it was shown says nothing: the position alone would give the grade."""
    lines = [Click("q", "a", 1, 1, 1)] * 50 + [Click("q", "b", 8, 1, 1)]
    made = judgments_of(
        [Click("q", "a", 1, None, 50), Click("q", "b", 8, None, 1)] if counted else lines, ClickModel()
    )
    assert made.judgments == {"1": {"a": 3, "b": 1}}
    assert not made.shown


@pytest.mark.parametrize("recorded", ["all", "clicks"])
def test_users_who_look_as_assumed_give_the_order_of_relevance(recorded: str) -> None:
    """They click what they look at as often as it is relevant; where it stands is nothing to that."""
    generator = random.Random(1)
    relevance = {"a": 0.9, "b": 0.5, "c": 0.15}
    shown, clicked = Counter[tuple[str, int]](), Counter[tuple[str, int]]()
    for number in range(3000):
        for position, document in enumerate("cab" if number % 4 else "cba", 1):
            shown[document, position] += 1
            clicked[document, position] += generator.random() < relevance[document] / position
    clicks = [
        Click("q", document, position, count if recorded == "all" else None, clicked[document, position])
        for (document, position), count in shown.items()
    ]
    assert judgments_of(clicks, ClickModel(eta=1)).judgments == {"1": {"a": 3, "b": 2, "c": 1}}
    assert judgments_of(clicks, ClickModel(eta=0)).judgments != {"1": {"a": 3, "b": 2, "c": 1}}


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
