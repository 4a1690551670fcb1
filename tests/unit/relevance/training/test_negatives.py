"""Negatives are never what is judged to be relevant, nor what a scorer holds to be as good."""

from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.relevance.judgments import Hit, Query
from rerank_proxy.relevance.training.material import Material
from rerank_proxy.relevance.training.negatives import MARGIN, negatives_of
from tests.support.examples import examples

DOCUMENTS = [f"d{number}" for number in range(8)]
GRADES = st.dictionaries(st.sampled_from(DOCUMENTS), st.integers(-1, 3))
SCORES = st.lists(st.floats(-5, 5), min_size=8, max_size=8)


def one_query(grades: dict[str, int]) -> Material:
    first = {"q": [Hit(name, 8.0 - place) for place, name in enumerate(DOCUMENTS)]}
    texts = {name: f"text of {name}" for name in DOCUMENTS}
    return Material({"q": Query("q", "a query")}, {"q": grades}, first, texts)


@given(GRADES, SCORES, st.integers(1, 8), st.integers(0, 3))
@examples(1)
def test_never_relevant(grades: dict[str, int], values: list[float], count: int, seed: int) -> None:
    made = one_query({"d0": 1, **grades, **({"d0": 1} if grades.get("d0", 1) <= 0 else {})})
    scores = dict(zip(DOCUMENTS, values, strict=True))
    found = negatives_of(made, "q", "d0", scores, count, seed=seed)
    assert len(found) <= count
    assert len({*found}) == len(found)
    assert not {*found} & made.relevant("q").keys()
    limit = min(values) + MARGIN * (scores["d0"] - min(values))
    assert all(scores[name] < limit for name in found if name not in grades)


def test_copies_of_the_right_text_are_not_taken() -> None:
    made = one_query({"d0": 1})
    texts = {**made.texts, "d1": made.texts["d0"]}
    made = Material(made.queries, made.judgments, made.first, texts)
    scores = {name: -float(place) for place, name in enumerate(DOCUMENTS)}
    assert "d1" not in negatives_of(made, "q", "d0", scores, 8, seed=0)


def test_the_hardest_come_first() -> None:
    scores = {name: -float(place) for place, name in enumerate(DOCUMENTS)}
    assert negatives_of(one_query({"d0": 1}), "q", "d0", scores, 2, seed=0)[0] == "d1"
