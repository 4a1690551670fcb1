"""The memory of answers: what clicks come to, and how much of it there can be."""

import gc
import tracemalloc
from collections.abc import Sequence
from math import isclose
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.online import memory as memories
from rerank_proxy.online.memory import MOST_SHOWN, Clicked, ClickMemory, Compared, Shown
from rerank_proxy.online.team_draft import Team
from tests.support.examples import examples
from tests.support.online import Counted

RERANKED = Compared("reranked", "e", "m")
INTERLEAVED = Compared("interleaved", "e", "m")
PAGE = [Shown("films", "a", 3, 1), Shown("films", "b", 1, 2), Shown("films", "c", 2, 0)]


class Memory(ClickMemory):
    """A memory with a clock that a test turns on.

    Attributes:
        now: In seconds.
    """

    def __init__(self, **bounds: Any) -> None:
        self.now = 0.0
        self.counted = Counted()
        given = {"max_searches": 100, "max_bytes": 10**6, "keep_s": 60.0, **bounds}
        super().__init__(self.counted, **given, clock=lambda: self.now)

    def keep(self, compared: Compared = RERANKED, shown: Sequence[Shown] = PAGE, **options: Any) -> str:
        id_ = self.remember(compared, shown, **options)
        assert id_ is not None
        return id_

    def clicked(self, id_: str, *documents: str) -> list[str]:
        return [*self.click(id_, map(Clicked, documents))]


def test_a_click_takes_no_longer_after_many_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application may tell each click by itself, of a page of a thousand hits and over and over."""
    seen: list[int] = []

    def noted(place: int) -> float:
        seen.append(place)
        return reciprocal(place)

    monkeypatch.setattr(memories, "_reciprocal", noted)
    memory = Memory()
    id_ = memory.keep(shown=[Shown("films", str(at), at + 1, MOST_SHOWN - at) for at in range(MOST_SHOWN)])
    for _ in range(2):
        for at in range(MOST_SHOWN):
            memory.clicked(id_, str(at))
    assert len(seen) == 2 * MOST_SHOWN


def reciprocal(place: int) -> float:
    return 1 / place if place else 0.0


@st.composite
def pages(draw: st.DrawFn) -> list[Shown]:
    """A page with places in both orders, from 1 without repetition; 0 for none."""
    size = draw(st.integers(1, 12))
    places = [draw(st.permutations(range(1, 31))) for _ in range(2)]
    return [
        Shown("films", str(at), places[0][at], draw(st.sampled_from([0, places[1][at]])))
        for at in range(size)
    ]


@given(pages(), st.lists(st.lists(st.integers(0, 15), min_size=1, max_size=6), min_size=1, max_size=6))
def test_each_search_counts_with_its_best_clicked_document(page: list[Shown], posts: list[list[int]]) -> None:
    """However its clicks are spread over posts, and however often they are repeated."""
    memory = Memory()
    id_ = memory.keep(shown=page)
    for post in posts:
        memory.clicked(id_, *map(str, post))
    clicked = {at for post in posts for at in post if at < len(page)}
    ranks = memory.counted.ranks.get(RERANKED, (0.0, 0.0))
    for told, order in zip(ranks, ("before", "after"), strict=True):
        expected = max((reciprocal(getattr(page[at], order)) for at in clicked), default=0.0)
        assert isclose(told, expected)
    assert memory.counted.clicked[RERANKED] == bool(clicked)
    assert memory.counted.outcomes["counted"] == len(clicked)
    assert sum(memory.counted.outcomes.values()) == sum(map(len, posts))


def test_what_becomes_of_clicks() -> None:
    memory = Memory()
    id_ = memory.keep()
    assert memory.clicked(id_, "a", "a", "z") == ["counted", "duplicate", "not_shown"]
    assert memory.clicked(Memory().keep(), "a") == ["elsewhere"]
    assert memory.clicked("nothing", "a", "b") == ["unknown", "unknown"]
    memory.now = 60
    assert memory.clicked(id_, "b") == ["late"]
    assert memory.counted.outcomes == {
        "counted": 1, "duplicate": 1, "not_shown": 1, "elsewhere": 1, "unknown": 2, "late": 1
    }  # fmt: skip


def test_an_index_tells_equal_ids_apart() -> None:
    memory = Memory()
    id_ = memory.keep(shown=[Shown("x", "1", 1, 2), Shown("y", "1", 2, 1), Shown("x", "2", 3, 3)])
    assert memory.click(id_, [Clicked("1", "y"), Clicked("1", "z"), Clicked("1"), Clicked("1", "x")]) == [
        "counted", "not_shown", "counted", "duplicate"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("teams", "clicked", "decision"),
    [
        (["own", "other", "own"], ["a"], "win"),
        (["own", "other", "own"], ["a", "b"], "tie"),
        (["own", "other", "own"], ["a", "b", "c"], "win"),
        (["other", "other", "own"], ["b"], "loss"),
        ([None, None, None], ["a", "b"], "tie"),
    ],
)
def test_the_clicks_of_a_search_decide_once_it_is_over(
    teams: list[Team | None], clicked: list[str], decision: str
) -> None:
    memory = Memory()
    page = [Shown("f", id_, 1, 1, team) for id_, team in zip("abc", teams, strict=True)]
    id_ = memory.keep(INTERLEAVED, page)
    for each in clicked:
        memory.clicked(id_, each, each)
    assert not memory.counted.decisions, "there may be more"
    memory.now = 60
    memory.tidy()
    assert memory.counted.decisions == {(INTERLEAVED, decision): 1}


def test_searches_without_clicks_decide_nothing() -> None:
    memory = Memory()
    memory.keep(INTERLEAVED)
    memory.clicked(memory.keep(RERANKED), "a")
    memory.clear()
    assert not memory.counted.decisions


def test_clicks_before_the_scores_count_with_them() -> None:
    memory = Memory()
    id_ = memory.keep(Compared("shadow", "e", ""), is_scored=False)
    assert memory.clicked(id_, "a") == ["counted"]
    assert not memory.counted.clicked
    memory.scored(id_, "m", [2, 1, 0])
    memory.scored(id_, "m", [1, 1, 1])
    scored = Compared("shadow", "e", "m")
    assert memory.counted.clicked == {scored: 1}
    assert memory.counted.ranks == {scored: (1 / 3, 1 / 2)}
    memory.clicked(id_, "b")
    assert memory.counted.ranks == {scored: (1.0, 1.0)}


def test_a_scoring_that_fails_is_as_if_there_had_been_none() -> None:
    memory = Memory()
    id_ = memory.keep(Compared("shadow", "e", ""), is_scored=False)
    memory.clicked(id_, "a")
    memory.forget(id_)
    memory.scored(id_, "m", [1, 2, 3])
    assert (len(memory), memory.size_bytes, memory.counted.ranks) == (0, 0, {})


def test_an_endpoint_that_is_deleted_is_forgotten() -> None:
    memory = Memory()
    kept = memory.keep()
    gone = [memory.keep(Compared("reranked", "x", "m")), memory.keep(INTERLEAVED._replace(against="x"))]
    memory.forget_endpoint("x")
    assert [memory.clicked(id_, "a") for id_ in (kept, *gone)] == [["counted"], ["late"], ["late"]]


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 30), st.booleans()), max_size=40),
    st.integers(1, 8),
    st.integers(1000, 30_000),
)
def test_bounds_hold_whatever_comes(
    searches: list[tuple[int, int, bool]], max_searches: int, max_bytes: int
) -> None:
    memory = Memory(max_searches=max_searches, max_bytes=max_bytes, keep_s=20.0)
    began: list[tuple[str, float]] = []
    for size, seconds, clicks in searches:
        memory.now += seconds
        id_ = memory.remember(RERANKED, [Shown("f", str(at), at + 1) for at in range(size)])
        if id_ is not None:
            began.append((id_, memory.now))
            if clicks:
                memory.clicked(id_, "0", "1")
        assert len(memory) <= max_searches
        assert memory.size_bytes <= max_bytes
    memory.tidy()
    known = [at for id_, at in began if memory.clicked(id_, "?") == ["not_shown"]]
    assert len(known) == len(memory)
    assert all(memory.now - at < 20 for at in known)
    memory.clear()
    assert memory.size_bytes == 0


@pytest.mark.parametrize("size", [1, 50, MOST_SHOWN])
def test_it_takes_no_more_than_it_says(size: int) -> None:
    """As Python's allocator counts it, also once everything was clicked."""
    memory = Memory(max_searches=10_000, max_bytes=10**9)
    page = [Shown("films", str(at), at + 1, at + 1, "own") for at in range(size)]
    memory.keep()
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(20):
            memory.clicked(memory.keep(INTERLEAVED, page), *(doc.id for doc in page))
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < memory.size_bytes


def test_of_a_long_answer_the_top_is_remembered() -> None:
    memory = Memory()
    id_ = memory.keep(shown=[Shown("f", str(at), at + 1) for at in range(10_000)])
    assert memory.clicked(id_, str(MOST_SHOWN - 1), str(MOST_SHOWN)) == ["counted", "not_shown"]


def test_smaller_bounds_hold_at_once() -> None:
    memory = Memory()
    ids = [memory.keep() for _ in range(10)]
    memory.use(max_searches=3, max_bytes=10**6, keep_s=60.0)
    assert [*map(memory.clicked, ids, "a" * 10)] == [["late"]] * 7 + [["counted"]] * 3


@given(st.text(max_size=10), st.text(max_size=10))
@examples(0.5)
def test_nothing_of_a_document_is_kept(id_: str, index: str) -> None:
    """Neither as text, nor as a digest that anyone without the key could make."""
    one, other = Memory(), Memory()
    digests = [vars(each)["_searches"][each.keep(shown=[Shown(index, id_, 1)])].ids for each in (one, other)]
    assert digests[0] != digests[1]
