"""Team draft: one list of two orders, fair to both."""

from collections.abc import Sequence
from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.online.team_draft import draft
from tests.support.examples import examples

Orders = tuple[Sequence[int], Sequence[int]]

orders = st.tuples(
    st.lists(st.integers(0, 30), unique=True, max_size=20),
    st.lists(st.integers(0, 30), unique=True, max_size=20),
)
coins = st.integers(0, 2**448 - 1)


def places_of_teams(own: Sequence[int], other: Sequence[int]) -> range:
    """The places that count: after those that both orders share, as far as each is sure to have a choice."""
    shared = next((at for at in range(min(len(own), len(other))) if own[at] != other[at]), None)
    if shared is None:
        return range(0)
    return range(shared, shared + (min(len(own), len(other)) - shared) // 2 * 2)


@given(orders, coins)
def test_every_document_of_both_orders_is_there_once(both: Orders, coins: int) -> None:
    docs = [doc for doc, _ in draft(*both, coins)]
    assert sorted(docs) == sorted({*chain(*both)})


@given(orders, coins)
def test_each_team_takes_its_best_that_is_left(both: Orders, coins: int) -> None:
    """So the documents at the top are the tops of both orders, however far a user looks."""
    taken: set[int] = set()
    for doc, team in draft(*both, coins):
        best = [next((each for each in order if each not in taken), None) for order in both]
        assert doc in (best if team is None else [best[team == "other"]])
        taken.add(doc)


@given(orders, coins)
def test_each_round_has_one_document_of_each_team_wherever_the_coins_fall(both: Orders, coins: int) -> None:
    """Elsewhere none is in a team, so that neither has more for being longer."""
    teams = [team for _, team in draft(*both, coins)]
    places = places_of_teams(*both)
    assert [at for at, team in enumerate(teams) if team is not None] == [*places]
    assert all({*teams[at : at + 2]} == {"own", "other"} for at in places[::2])


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


@given(orders)
@examples(0.1)
def test_each_place_is_of_each_team_as_often(both: Orders) -> None:
    """So clicks that know nothing of the documents prefer no team, wherever they fall (five deviations)."""
    lists = [draft(*both, coins) for coins in range(400)]
    for place in places_of_teams(*both):
        owned = sum(list_[place][1] == "own" for list_ in lists)
        assert abs(owned - 200) < 5 * 400**0.5 / 2


def test_what_both_have_at_the_top_counts_for_neither() -> None:
    assert draft("abcd", "abdc", 0)[:2] == [("a", None), ("b", None)]


def test_what_only_one_order_can_choose_counts_for_neither() -> None:
    """As hits without text, which are no choice of the reranker's."""
    for coins in range(20):
        list_ = draft("cd", "abcdefgh", coins)
        assert {doc for doc, team in list_ if team is not None} == {"a", "c"}
        assert [team for _, team in list_[2:]] == [None] * 6


def test_clicks_find_the_better_order() -> None:
    """A user who clicks the one document that answers finds it where the better order has it."""
    assert all(dict(draft("abcdef", "fedcba", coins))["a"] == "own" for coins in range(400))
