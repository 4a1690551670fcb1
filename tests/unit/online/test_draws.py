"""Draws: which searches take part in a comparison."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.online.draws import Part, draw, mode_of

NEVER = Part(0.0, ("*",))
ALWAYS = Part(1.0, ("*",))

shares = st.integers(0, 2**53 - 1).map(lambda number: number / 2**53)
parts = st.lists(st.binary(max_size=8), max_size=4)
words = st.text("ab*", max_size=6)


@given(st.binary(max_size=64), parts, parts)
def test_a_draw_follows_from_its_parts_alone(seed: bytes, some: list[bytes], others: list[bytes]) -> None:
    assert (draw(seed, some) == draw(seed, others)) == (some == others)
    assert 0 <= draw(seed, some).share < 1


def test_other_seeds_give_other_draws() -> None:
    assert draw(b"one", [b"a"]) != draw(b"other", [b"a"])


def test_shares_are_what_they_say() -> None:
    """Within five standard deviations."""
    drawn = [draw(b"seed", [b"%d" % number]).share for number in range(4000)]
    for share in (0.1, 0.5, 0.9):
        deviation = (4000 * share * (1 - share)) ** 0.5
        assert abs(sum(each < share for each in drawn) - share * 4000) < 5 * deviation


@given(shares)
def test_none_and_all(at: float) -> None:
    assert mode_of("films", at, NEVER, NEVER) == "reranked"
    assert mode_of("films", at, ALWAYS, ALWAYS) == "shadow"
    assert mode_of("films", at, NEVER, ALWAYS) == "interleaved"


@given(shares, st.integers(0, 64))
def test_shares_that_are_all_together_are_disjoint(at: float, share: int) -> None:
    together = [mode_of("films", at, Part(share / 64, ("*",)), NEVER) == "shadow",
                mode_of("films", at, NEVER, Part(1 - share / 64, ("*",))) == "interleaved"]  # fmt: skip
    assert together.count(True) == 1


@given(words, st.text("ab", max_size=6))
def test_patterns_match_as_expressions_do(pattern: str, name: str) -> None:
    expected = re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name) is not None
    assert Part(1.0, (pattern,)).has(name, 0.5) == expected


@pytest.mark.parametrize(
    ("index", "takes_part"),
    [("films", True), ("films,films-2", True), ("films,books", False), ("_all", False), ("book", False)],
)
def test_each_index_of_a_search_has_to_match(index: str, takes_part: bool) -> None:
    assert Part(1.0, ("films*", "music")).has(index, 0.5) == takes_part
