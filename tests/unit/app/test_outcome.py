"""The `X-Rerank` header cannot be broken out of: an endpoint id is whatever the client sends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.observe.outcome import (
    Applied,
    Evaluated,
    Interleaved,
    Outcome,
    Shadow,
    Skipped,
    Tree,
    of_tree,
)

texts = st.text(st.characters(exclude_categories=()))


def test_applied() -> None:
    outcome = Applied(".rerank-v1", "minilm", 10, 8, 3, 1, 12.345, "text")
    assert outcome.header() == (
        "applied; endpoint=.rerank-v1; model=minilm; window=10; scored=8; cached=3; truncated=1; ms=12.3"
    )


def test_without_counts() -> None:
    outcome = Applied("e", "m", 10, 8, 3, 1, 12.345, "text", counted=False)
    assert outcome.header() == "applied; endpoint=e; model=m"
    assert outcome.profile() == {"outcome": "applied", "endpoint": "e", "model": "m"}
    without_text = Applied("e", "m", 10, 0, 0, 0, 12.345, "text", counted=False)
    assert without_text.header() == "applied; endpoint=e; model=m; no_text_in=text"


def test_skipped() -> None:
    assert Skipped("x", "status_exception").header() == "skipped; endpoint=x; reason=status_exception"


@given(texts, texts, texts)
def test_no_name_breaks_out(endpoint: str, model: str, field: str) -> None:
    for header in (
        Applied(endpoint, model, 1, 1, 0, 0, 0.1, field).header(),
        Applied(endpoint, model, 1, 0, 0, 0, 0.1, field).header(),
        Skipped(endpoint, model).header(),
    ):
        assert header.isascii()
        assert header.isprintable()
        state, *parts = header.split("; ")
        assert state in ("applied", "skipped")
        assert [part.partition("=")[0] for part in parts] in (
            ["endpoint", "model", "window", "scored", "cached", "truncated", "ms"],
            ["endpoint", "model", "window", "scored", "no_text_in", "cached", "truncated", "ms"],
            ["endpoint", "reason"],
        )


def test_a_name_of_any_length_fits_a_header() -> None:
    assert len(Skipped("x" * 1_000_000, "y").header()) < 1000


APPLIED = Applied("e", "m", 10, 8, 3, 1, 12.345, "text")
SKIPPED = Skipped("f", "r")


def test_evaluated() -> None:
    assert of_tree(["rrf", "linear", "rrf"], []).header() == "evaluated; retrievers=rrf+linear"


def test_what_takes_part_in_a_comparison() -> None:
    assert Shadow("e").header() == "shadow; endpoint=e"
    own = APPLIED.header().removeprefix("applied")
    assert Interleaved(APPLIED, None).header() == f"interleaved{own}"
    assert Interleaved(APPLIED, "x, y").header() == f"interleaved{own}; against=x__y"
    assert Interleaved(APPLIED, None).rerankers == (APPLIED,)


def test_of_a_tree() -> None:
    """One reranker is told as if it stood alone, of several each in turn."""
    assert of_tree(["rrf", "text_similarity_reranker"], [APPLIED]) is APPLIED
    several = of_tree(["rrf"], [APPLIED, SKIPPED])
    assert several == Tree((APPLIED, SKIPPED))
    assert several.header() == f"{APPLIED.header()}, {SKIPPED.header()}"
    assert of_tree([], []) == Evaluated(())


def test_in_a_profile() -> None:
    assert APPLIED.profile() == {
        "outcome": "applied",
        "endpoint": "e",
        "model": "m",
        "window": 10,
        "scored": 8,
        "cached": 3,
        "truncated": 1,
        "ms": 12.345,
    }
    assert SKIPPED.profile() == {"outcome": "skipped", "endpoint": "f", "reason": "r"}


@pytest.mark.parametrize(
    ("window", "scored", "has_none"), [(4, 0, True), (4, 1, False), (0, 0, False)], ids=str
)
def test_a_window_without_text(window: int, scored: int, has_none: bool) -> None:
    """The field may be misspelt; of no documents that cannot be said."""
    outcome = Applied("e", "m", window, scored, 0, 0, 0.1, "titel")
    assert outcome.has_no_text is has_none
    assert ("; no_text_in=titel; " in outcome.header()) is has_none
    assert outcome.profile().get("no_text_in") == ("titel" if has_none else None)


@pytest.mark.parametrize(
    ("outcome", "word", "rerankers"),
    [
        (APPLIED, "applied", (APPLIED,)),
        (SKIPPED, "skipped", (SKIPPED,)),
        (Evaluated(("rrf",)), "evaluated", ()),
        (Shadow("e"), "shadow", ()),
        (Tree((APPLIED, APPLIED)), "applied", (APPLIED, APPLIED)),
        (Tree((APPLIED, SKIPPED)), "skipped", (APPLIED, SKIPPED)),
        (Tree((SKIPPED, APPLIED)), "skipped", (SKIPPED, APPLIED)),
    ],
)
def test_the_word_that_header_and_metrics_share(
    outcome: Outcome, word: str, rerankers: tuple[Applied | Skipped, ...]
) -> None:
    assert (outcome.word, outcome.rerankers) == (word, rerankers)
    shown = [part.partition(";")[0] for part in outcome.header().split(", ")]
    assert shown == [each.word for each in rerankers or (outcome,)]


@given(st.integers(2, 1000))
def test_of_very_many_rerankers_some_are_only_counted(number: int) -> None:
    parts = Tree((APPLIED,) * number).header().split(", ")
    assert sum(len(part) + 2 for part in parts) < 4200
    shown = sum(part == APPLIED.header() for part in parts)
    assert parts[shown:] == ([] if shown == number else [f"omitted; rerankers={number - shown}"])
