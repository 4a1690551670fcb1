"""Queries are divided by their texts, and none is on both sides."""

from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.relevance.judgments import Query
from rerank_proxy.relevance.training.splitting import Part, folds, held_out, same_text
from tests.support.examples import examples

TEXTS = st.lists(st.text("abAB é \u0301\u00e9", min_size=1, max_size=4), min_size=2, max_size=20)


def queries_of(texts: list[str]) -> dict[str, Query]:
    return {f"q{number}": Query(f"q{number}", text) for number, text in enumerate(texts)}


def check(queries: dict[str, Query], part: Part) -> None:
    assert sorted([*part.train, *part.held_out]) == sorted(queries)
    seen = {same_text(queries[name].text) for name in part.train}
    assert not seen & {same_text(queries[name].text) for name in part.held_out}


@given(TEXTS, st.floats(0.1, 0.9), st.integers(0, 5))
@examples(1)
def test_no_text_is_on_both_sides(texts: list[str], share: float, seed: int) -> None:
    queries = queries_of(texts)
    check(queries, held_out(queries, share, seed))


@given(TEXTS, st.integers(2, 5), st.integers(0, 5))
@examples(1)
def test_each_query_is_held_out_once(texts: list[str], count: int, seed: int) -> None:
    queries = queries_of(texts)
    different = len({same_text(text) for text in texts})
    if different < count:
        return
    parts = folds(queries, count, seed)
    for part in parts:
        check(queries, part)
    assert sorted(name for part in parts for name in part.held_out) == sorted(queries)


@given(TEXTS, st.integers(0, 5))
@examples(1)
def test_a_part_follows_from_texts_and_seed_alone(texts: list[str], seed: int) -> None:
    queries = queries_of(texts)
    backwards = dict(reversed(queries.items()))
    assert held_out(queries, 0.5, seed) == held_out(backwards, 0.5, seed)


def test_another_seed_gives_another_part() -> None:
    queries = queries_of([f"query {number}" for number in range(40)])
    assert held_out(queries, 0.5, 0) != held_out(queries, 0.5, 1)
    assert len(held_out(queries, 0.25, 0).held_out) == 10
