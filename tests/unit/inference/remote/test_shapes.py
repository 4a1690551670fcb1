"""Reading results, whatever comes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.inference.ranking import RankedDoc
from proxy.inference.remote.shapes import MalformedAnswerError, Shape

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["results", "index", "score", "a"]), inner)
    ),
)


@given(ANYTHING)
def test_anything_is_results_or_malformed(answer: Any) -> None:
    for shape in (Shape(), Shape(rows=""), Shape(rows="a.a", score=("score",))):
        try:
            docs = shape.read(answer)
        except MalformedAnswerError:
            continue
        assert all(isinstance(doc.index, int) and isinstance(doc.relevance_score, float) for doc in docs)


def test_rows_may_lie_deep_and_scores_have_several_names() -> None:
    shape = Shape(rows="result.scores", score=("score", "relevance_score"))
    answer = {"result": {"scores": [{"index": 1, "score": 2}, {"index": 0, "relevance_score": 0.5}]}}
    assert shape.read(answer) == [RankedDoc(1, 2.0), RankedDoc(0, 0.5)]


@pytest.mark.parametrize("document", ["text", {"text": "text"}, {"text": "text", "more": 1}])
def test_forms_of_documents(document: Any) -> None:
    row = {"index": 0, "relevance_score": 1, "document": document}
    assert Shape().read({"results": [row]}) == [RankedDoc(0, 1.0, "text")]
    assert Shape(text=None).read({"results": [row]}) == [RankedDoc(0, 1.0)]


@pytest.mark.parametrize("document", [None, 5, {}, {"text": None}, {"image": "x"}, ["text"]])
def test_documents_without_text(document: Any) -> None:
    row = {"index": 0, "relevance_score": 1, "document": document}
    assert Shape().read({"results": [row]}) == [RankedDoc(0, 1.0)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (5, "result [0] of [results] is not an object"),
        ({"relevance_score": 1}, "[index] of result [0] of [results] is absent"),
        ({"index": 0}, "[relevance_score] of result [0] of [results] is absent"),
        ({"index": 0.5, "relevance_score": 1}, "[index] of result [0] of [results] is not a whole number"),
        ({"index": 10**400, "relevance_score": 1}, "[index] of result [0] of [results] is not a number"),
        (
            {"index": 0, "relevance_score": "a secret"},
            "[relevance_score] of result [0] of [results] is not a number",
        ),
    ],
)
def test_what_is_wrong_is_said_without_the_answers_values(row: Any, reason: str) -> None:
    with pytest.raises(MalformedAnswerError) as raised:
        Shape().read({"results": [row]})
    assert str(raised.value) == reason


@pytest.mark.parametrize("answer", [{}, [], None, {"results": {}}, {"results": None}])
def test_no_results(answer: Any) -> None:
    with pytest.raises(MalformedAnswerError, match=r"^\[results\] is not a list of results$"):
        Shape().read(answer)
