"""Team draft: one list of two orders, fair to both."""

from collections.abc import Sequence
from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.online.team_draft import Team, draft
from tests.support.examples import examples

Orders = tuple[Sequence[int], Sequence[int]]

orders = st.tuples(
    st.lists(st.integers(0, 30), unique=True, max_size=20),
    st.lists(st.integers(0, 30), unique=True, max_size=20),
)
coins = st.integers(0, 2**448 - 1)


def members(list_: Sequence[tuple[int, Team]], team: Team) -> list[int]:
    return [doc for doc, of in list_ if of == team]


@given(orders, coins)
def test_every_document_of_both_orders_is_there_once(both: Orders, coins: int) -> None:
    docs = [doc for doc, _ in draft(*both, coins)]
    assert sorted(docs) == sorted({*chain(*both)})


@given(orders, coins)
def test_each_team_takes_its_best_that_is_left(both: Orders, coins: int) -> None:
    """So the documents at the top are the tops of both orders, however far a user looks."""
    taken: set[int] = set()
    for doc, team in draft(*both, coins):
        order = both[0] if team == "own" else both[1]
        assert doc == next(each for each in order if each not in taken)
        taken.add(doc)


@given(orders, coins)
def test_no_team_is_ahead_by_more_than_one_while_both_can_choose(both: Orders, coins: int) -> None:
    list_ = draft(*both, coins)
    for length in range(len(list_) + 1):
        top = list_[:length]
        taken = {doc for doc, _ in top}
        sizes = len(members(top, "own")), len(members(top, "other"))
        if all(any(doc not in taken for doc in order) for order in both):
            assert abs(sizes[0] - sizes[1]) <= 1


@given(orders, coins)
def test_equal_coins_make_equal_lists(both: Orders, coins: int) -> None:
    assert draft(*both, coins) == draft(*both, coins)


@given(orders, coins)
def test_equal_orders_stay_as_they_are(both: Orders, coins: int) -> None:
    assert [doc for doc, _ in draft(both[0], both[0], coins)] == [*both[0]]


def test_each_team_begins_as_often_as_the_other() -> None:
    """Within five standard deviations of a fair coin."""
    lists = [draft("abcd", "dcba", coins) for coins in range(4000)]
    begun = sum(list_[0][1] == "own" for list_ in lists)
    assert abs(begun - 2000) < 5 * 4000**0.5 / 2


@given(st.permutations(range(6)), st.permutations(range(6)))
@examples(0.1)
def test_each_place_is_of_each_team_as_often(own: list[int], other: list[int]) -> None:
    """So clicks that know nothing of the documents prefer no team, wherever they fall (five deviations)."""
    lists = [draft(own, other, coins) for coins in range(400)]
    for place in range(6):
        owned = sum(list_[place][1] == "own" for list_ in lists)
        assert abs(owned - 200) < 5 * 400**0.5 / 2


def test_clicks_find_the_better_order() -> None:
    """A user who clicks the one document that answers finds it where the better order has it."""
    wins = 0
    for coins in range(400):
        teams = dict(draft("abcdef", "fedcba", coins))
        wins += (teams["a"] == "own") - (teams["a"] == "other")
    assert wins == 400, "whatever the coins"
