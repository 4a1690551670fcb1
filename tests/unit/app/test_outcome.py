"""The `X-Rerank` header cannot be broken out of: an endpoint id is whatever the client sends."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.observe.outcome import Applied, Evaluated, Skipped, Tree, of_tree

texts = st.text(st.characters(exclude_categories=()))


def test_applied() -> None:
    outcome = Applied(".rerank-v1", "minilm", 10, 8, 3, 1, 12.345)
    assert outcome.header() == (
        "applied; endpoint=.rerank-v1; model=minilm; window=10; scored=8; cached=3; truncated=1; ms=12.3"
    )


def test_skipped() -> None:
    assert Skipped("x", "status_exception").header() == "skipped; endpoint=x; reason=status_exception"


@given(texts, texts)
def test_no_name_breaks_out(endpoint: str, model: str) -> None:
    for header in (
        Applied(endpoint, model, 1, 1, 0, 0, 0.1).header(),
        Skipped(endpoint, model).header(),
    ):
        assert header.isascii()
        assert header.isprintable()
        state, *parts = header.split("; ")
        assert state in ("applied", "skipped")
        assert [part.partition("=")[0] for part in parts] in (
            ["endpoint", "model", "window", "scored", "cached", "truncated", "ms"],
            ["endpoint", "reason"],
        )


def test_a_name_of_any_length_fits_a_header() -> None:
    assert len(Skipped("x" * 1_000_000, "y").header()) < 1000


APPLIED = Applied("e", "m", 10, 8, 3, 1, 12.345)
SKIPPED = Skipped("f", "r")


def test_evaluated() -> None:
    assert of_tree(["rrf", "linear", "rrf"], []).header() == "evaluated; retrievers=rrf+linear"


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
