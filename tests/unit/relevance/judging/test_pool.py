"""The pool of a query, its orders, and who judges which queries."""

from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.relevance.judging.pool import dealt, pooled, shuffled

IDS = st.text(min_size=1, max_size=4)
FOUND = st.dictionaries(st.sampled_from("abcd"), st.lists(IDS, max_size=12, unique=True), min_size=1)
QUERIES = st.lists(IDS, max_size=30, unique=True)
JUDGES = st.lists(st.sampled_from(["anna", "ben", "carl"]), min_size=1, max_size=3, unique=True)


@given(FOUND, st.integers(1, 12))
def test_a_pool_is_the_union_of_the_first_hits(found: dict[str, list[str]], depth: int) -> None:
    pool = pooled("q", "a query", found, depth)
    assert {*pool.documents} == {each for ids in found.values() for each in ids[:depth]}
    assert len({*pool.documents}) == len(pool.documents)
    for name, share in pool.systems.items():
        others = {each for other, ids in found.items() if other != name for each in ids[:depth]}
        assert share.hits == len(found[name][:depth])
        assert share.alone == len({*found[name][:depth]} - others)


@given(FOUND)
def test_a_pool_does_not_tell_who_found_what_where(found: dict[str, list[str]]) -> None:
    """Systems in another order, with their hits in another order, make the same pool."""
    others = {name: [*reversed(ids)] for name, ids in reversed(found.items())}
    assert pooled("q", "a query", found, 99).documents == pooled("q", "a query", others, 99).documents


@given(FOUND, st.integers())
def test_orders_are_repeated_for_a_judge_alone(found: dict[str, list[str]], seed: int) -> None:
    pool = pooled("q", "a query", found, 99)
    assert shuffled(pool, seed, "anna") == shuffled(pool, seed, "anna")
    assert sorted(shuffled(pool, seed, "anna")) == [*pool.documents]


def test_orders_differ_between_judges_queries_and_seeds() -> None:
    ids = [str(number) for number in range(30)]
    pool, other = (pooled(query, "a query", {"bm25": ids}, 30) for query in ("q", "r"))
    orders = [shuffled(pool, 1, "anna"), shuffled(pool, 1, "ben"), shuffled(pool, 2, "anna")]
    orders.append(shuffled(other, 1, "anna"))
    assert len({tuple(order) for order in orders}) == 4


@given(QUERIES, JUDGES, st.floats(0, 1), st.integers())
def test_every_query_is_dealt_and_the_share_to_all(
    queries: list[str], judges: list[str], shared: float, seed: int
) -> None:
    hands = dealt(queries, judges, shared, seed)
    assert hands == dealt([*reversed(queries)], judges, shared, seed)
    assert {each for hand in hands.values() for each in hand} == {*queries}
    assert all(len({*hand}) == len(hand) for hand in hands.values())
    common = set(queries).intersection(*hands.values())
    assert len(common) == (len(queries) if len(judges) == 1 else int(shared * len(queries) + 0.5))
    sizes = [len(hand) for hand in hands.values()]
    assert max(sizes) - min(sizes) <= 1
