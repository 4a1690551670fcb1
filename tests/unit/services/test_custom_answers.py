"""Paths into answers."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.services import MalformedAnswerError
from rerank_proxy.services.custom_answers import numbers, path_problem, texts

ANSWER = {
    "a": {"b": [{"c": 1}, {"c": "2"}]},
    "l": [{"k": [{"x": 1}, {"x": 2}]}, {"k": [{"x": 3}]}],
    "n": [5, None],
}


def encoded(answer: Any) -> bytes:
    return json.dumps(answer).encode()


@pytest.mark.parametrize(
    ("answer", "path", "found"),
    [
        (ANSWER, "$.a.b[*].c", [1, "2"]),
        (ANSWER, "$.l[*].k[*].x", [[1, 2], [3]]),
        (ANSWER, " $.n ", [5, None]),
        ([{"s": 1, "more": [[{}]]}], "$[*].s", [1]),
        ([0.5, 0.25], "$[*]", [0.5, 0.25]),
        ([0.5, 0.25], "$", [0.5, 0.25]),
        ({"\u00e4 $b": [1]}, "$.\u00e4 $b", [1]),
    ],
)
def test_paths(answer: Any, path: str, found: Any) -> None:
    assert path_problem(path) is None
    assert numbers(encoded(answer), path) == found


def test_documents_are_not_looked_into() -> None:
    found = texts(encoded({"d": [{"t": "x"}, {"t": {"text": 1}}]}), "$.d[*].t")
    assert [msgspec.json.decode(each) for each in found] == ["x", {"text": 1}]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("$.a.x", "[$.a.x]: Object missing required field `x` - at `$.a`"),
        ("$.a[*]", "[$.a[*]]: Expected `array`, got `object` - at `$.a`"),
        ("$.a.b.c", "[$.a.b.c]: Expected `object`, got `array` - at `$.a.b`"),
        ("$.a.b", "[$.a.b]: Expected `float | str | null`, got `object` - at `$.a.b[0]`"),
    ],
)
def test_paths_that_lead_nowhere(path: str, reason: str) -> None:
    with pytest.raises(MalformedAnswerError) as raised:
        numbers(encoded(ANSWER), path)
    assert str(raised.value) == reason


BAD_PATHS: list[Any] = [
    5,
    None,
    "",
    "a",
    "$a",
    "$.a[1]",
    "$..a",
    "$.a[*",
    '$.a"b',
    "$.a\\b",
    "$.a\nb",
    "$" + ".a" * 33,
]


@pytest.mark.parametrize("path", BAD_PATHS)
def test_what_is_not_a_path(path: Any) -> None:
    assert path_problem(path) is not None


@pytest.mark.parametrize("path", [path for path in BAD_PATHS if isinstance(path, str)])
def test_what_is_not_a_path_is_not_followed(path: str) -> None:
    """An endpoint of an earlier version may have one."""
    with pytest.raises(MalformedAnswerError, match="cannot be followed"):
        numbers(b"[]", path)


@given(st.text(max_size=20), st.recursive(st.none() | st.floats() | st.text(), st.lists, max_leaves=10))
def test_any_path_leads_somewhere_or_nowhere(path: str, answer: Any) -> None:
    for read in (numbers, texts):
        try:
            assert isinstance(read(encoded(answer), f"$.{path}"), list)
        except MalformedAnswerError:
            continue
