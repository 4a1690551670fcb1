"""Reading the results of any answer."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.inference.ranking import RankedDoc
from rerank_proxy.inference.remote.shapes import MalformedAnswerError, Shape

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["results", "index", "score", "a"]), inner)
    ),
)


def read(answer: Any, shape: Shape = Shape()) -> list[RankedDoc]:  # noqa: B008
    return shape.read(answer if isinstance(answer, bytes) else json.dumps(answer).encode())


@given(ANYTHING | st.binary())
def test_anything_is_results_or_malformed(answer: Any) -> None:
    for shape in (Shape(), Shape(rows=""), Shape(rows="a.a", score=("score", "b"))):
        try:
            docs = read(answer, shape)
        except MalformedAnswerError:
            continue
        assert all(isinstance(doc.index, int) and isinstance(doc.relevance_score, float) for doc in docs)


def test_rows_may_lie_deep_and_scores_have_several_names() -> None:
    shape = Shape(rows="result.scores", score=("score", "relevance_score"))
    answer = {"result": {"scores": [{"index": 1, "score": 2}, {"index": 0, "relevance_score": 0.5}]}}
    assert read(answer, shape) == [RankedDoc(1, 2.0), RankedDoc(0, 0.5)]


@pytest.mark.parametrize("document", ["text", {"text": "text"}, {"text": "text", "more": 1}])
def test_forms_of_documents(document: Any) -> None:
    row = {"index": 0, "relevance_score": 1, "document": document}
    assert read({"results": [row]}) == [RankedDoc(0, 1.0, "text")]
    assert read({"results": [row]}, Shape(text=None)) == [RankedDoc(0, 1.0)]


@pytest.mark.parametrize("document", [None, 5, {}, {"text": None}, {"image": "x"}, ["text"]])
def test_documents_without_text(document: Any) -> None:
    row = {"index": 0, "relevance_score": 1, "document": document}
    assert read({"results": [row]}) == [RankedDoc(0, 1.0)]


@pytest.mark.parametrize(
    ("index", "position"),
    [("0", 0), ("1.0", 1), ("1e0", 1), ("2147483647", 2147483647), ("-1", -1), ('"7"', 7), ('"007"', 7)],
)
def test_positions(index: str, position: int) -> None:
    answer = b'{"results": [{"index": %s, "relevance_score": 1}]}' % index.encode()
    assert [doc.index for doc in read(answer)] == [position]


NOT_NUMBERS = [
    "null", "true", "false", "[]", "{}", '""', '" 1"', '"1 "', '"1_0"', '"0x1"', '"nan"', '"NaN"', '"inf"',
    "NaN", "Infinity", "01", "+1", "1.", "0x1", "1_0", '"Infinity"', '"\u0661"', '"\u00b2"', "1e400",
    "-1e400", "1" * 400, '"%s"' % ("1" * 10_000),
]  # fmt: skip


@pytest.mark.parametrize(
    "index", [*NOT_NUMBERS, "0.5", "1e300", "-1e300", "2147483648", '"1e0"', '"4294967296"', '"1.5"']
)
def test_what_is_not_a_position(index: str) -> None:
    with pytest.raises(MalformedAnswerError) as raised:
        read(b'{"results": [{"index": %s, "relevance_score": 1}]}' % index.encode())
    assert len(str(raised.value)) < 100


@pytest.mark.parametrize(
    ("score", "number"),
    [("1", 1.0), ("1e-400", 0.0), ("-0.0", 0.0), ('"0.5"', 0.5), ('"-1e3"', -1000.0), ("1e300", 1e300)],
)
def test_scores(score: str, number: float) -> None:
    answer = b'{"results": [{"index": 0, "relevance_score": %s}]}' % score.encode()
    assert [doc.relevance_score for doc in read(answer)] == [number]


@pytest.mark.parametrize("score", NOT_NUMBERS)
def test_what_is_not_a_score(score: str) -> None:
    with pytest.raises(MalformedAnswerError) as raised:
        read(b'{"results": [{"index": 0, "relevance_score": %s}]}' % score.encode())
    assert len(str(raised.value)) < 100


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (5, "Expected `object`, got `int` - at `$.results[0]`"),
        ({"relevance_score": 1}, "Object missing required field `index` - at `$.results[0]`"),
        ({"index": 0}, "Object missing required field `relevance_score` - at `$.results[0]`"),
        ({"index": None, "relevance_score": 1}, "[index] of result [0] of [results] is absent"),
        ({"index": 0.5, "relevance_score": 1}, "[index] of result [0] of [results] is not a position"),
        ({"index": 10**400, "relevance_score": 1}, "Number out of range - at `$.results[0].index`"),
        (
            {"index": 0, "relevance_score": "a secret"},
            "[relevance_score] of result [0] of [results] is not a number",
        ),
    ],
)
def test_what_is_wrong_is_said_without_the_answers_values(row: Any, reason: str) -> None:
    with pytest.raises(MalformedAnswerError) as raised:
        read({"results": [row]})
    assert str(raised.value) == reason


@pytest.mark.parametrize("answer", [{}, [], None, {"results": {}}, {"results": None}, "results", 5])
def test_no_results(answer: Any) -> None:
    with pytest.raises(MalformedAnswerError, match=r"^(Expected|Object missing required field `results`)"):
        read(answer)


@pytest.mark.parametrize("answer", [b"", b"{", b"<html>", b"\xff", b'{"results": []} x', b"\xef\xbb\xbf{}"])
def test_what_is_not_json(answer: bytes) -> None:
    with pytest.raises(MalformedAnswerError, match=r"^it is not JSON$"):
        read(answer)


@pytest.mark.parametrize(
    "answer", [b'{"x": %s, "results": []}', b'{"results": [{"index": 0, "document": %s}]}']
)
def test_nesting_without_end(answer: bytes) -> None:
    with pytest.raises(MalformedAnswerError, match="nested too deep"):
        read(answer % (b"[" * 200_000 + b"]" * 200_000))
