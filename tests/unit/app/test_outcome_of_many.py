"""The `X-Rerank` header of a request of many searches."""

from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.observe.outcome import (
    Applied,
    Evaluated,
    Interleaved,
    Outcome,
    Several,
    Shadow,
    Skipped,
    Tree,
)

APPLIED = Applied("e", "m", 10, 8, 3, 1, 12.345, "text")
SKIPPED = Skipped("e", "r")


def test_each_item_has_its_number() -> None:
    assert Several({0: APPLIED, 3: SKIPPED}).header() == (
        "applied; item=0; endpoint=e; model=m; window=10; scored=8; cached=3; truncated=1; ms=12.3, "
        "skipped; item=3; endpoint=e; reason=r"
    )
    assert Several({7: Evaluated(("rrf",))}).header() == "evaluated; item=7; retrievers=rrf"
    assert Several({1: Tree((SKIPPED, SKIPPED))}).header() == (
        "skipped; item=1; endpoint=e; reason=r, skipped; item=1; endpoint=e; reason=r"
    )


def test_items_that_take_part_in_a_comparison() -> None:
    items: dict[int, Outcome] = {0: Shadow("e"), 2: Interleaved(APPLIED, None)}
    shadow, interleaved = Several(items).header().split(", ")
    assert shadow == "shadow; item=0; endpoint=e"
    assert interleaved.startswith("interleaved; item=2; endpoint=")


def test_none() -> None:
    assert Several({}).header() == "none"


outcomes = st.sampled_from([APPLIED, SKIPPED]) | st.builds(Skipped, st.text(min_size=200), st.just("r"))


@given(st.dictionaries(st.integers(0, 9999), outcomes, max_size=300))
def test_it_is_bounded_and_counts_what_it_omits(items: dict[int, Outcome]) -> None:
    parts = Several(items).header().split(", ")
    assert sum(len(part) + 2 for part in parts) < 4200
    if parts[-1].startswith("omitted"):
        assert parts[-1] == f"omitted; items={len(items) - len(parts) + 1}"
    elif items:
        assert len(parts) == len(items)
    for part, number in zip(parts, items, strict=False):
        assert part.startswith("omitted") or f"; item={number}; " in part


def test_an_endpoint_id_ends_no_member_of_the_list() -> None:
    assert Several({0: Skipped("a, applied; item=1", "r")}).header().count(",") == 0
