"""Patterns with `*`."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.wildcards import matches

LETTERS = st.text("ab", max_size=8)


@given(st.text("ab*", max_size=8), LETTERS)
def test_as_patterns_of_a_shell_match(pattern: str, name: str) -> None:
    assert matches(pattern, name) == fnmatchcase(name, pattern)


@given(st.lists(LETTERS, min_size=1), st.lists(LETTERS))
def test_whatever_stands_for_a_wildcard(pieces: list[str], between: list[str]) -> None:
    filled = [each for pair in zip(pieces, [*between, *[""] * len(pieces)], strict=False) for each in pair]
    assert matches("*".join([*pieces, ""]), "".join(filled))


@pytest.mark.parametrize("name", ["[a]", "?", "a?b", "\n"])
def test_all_else_stands_for_itself(name: str) -> None:
    assert matches(name, name)
    assert matches("*", name)
    assert not matches(name, "b")
