"""`hits.total` of the one search: what the final search of native would count."""

from typing import Any

import pytest

from rerank_proxy.search.answer.totals import final_total
from rerank_proxy.search.inner.window import Total
from rerank_proxy.search.ranks.ranking import RankDoc
from tests.support.searches import KNN, STANDARD, request, reranking

WINDOW = 5
MATCHES = 12


def counted(limit: bool | int | None) -> Total | None:
    """What the child's own search says of its matches under the same `track_total_hits`."""
    if limit is False:
        return None
    if limit is None or limit is True or limit >= MATCHES:
        return Total(MATCHES, "eq")
    return Total(limit, "gte")


def total(
    track: bool | int | None = None,
    *,
    scores: list[float] | None = None,
    child: Any = STANDARD,
    min_score: float | str | None = None,
    **options: Any,
) -> Total | None:
    """The total over 12 matches of which the first 5 were reranked."""
    body = reranking(child, rank_window_size=WINDOW, **options)
    if track is not None:
        body["track_total_hits"] = track
    if min_score is not None:
        body["min_score"] = min_score
    values = [5.0, 4.0, 3.0, 2.0, 1.0] if scores is None else scores
    ranked = [RankDoc("films", str(place), place, score=score) for place, score in enumerate(values)]
    parsed = request(body)
    return final_total(parsed, ranked, counted(parsed.track_total_hits))


@pytest.mark.parametrize(
    ("track", "expected"),
    [
        (None, Total(12, "eq")),
        (True, Total(12, "eq")),
        (False, None),
        (3, Total(3, "gte")),
        (5, Total(5, "eq")),  # no more than the rank docs: the tail is not run
        (6, Total(6, "gte")),
        (12, Total(12, "eq")),
        (13, Total(12, "eq")),
        (0, Total(0, "gte")),
    ],
)
def test_without_min_score(track: bool | int | None, expected: Total | None) -> None:
    assert total(track) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"min_score": 3.0}, Total(3, "eq")),  # at the top: inclusive, on reranked scores; removes the tail
        ({"min_score": 0.0}, Total(12, "eq")),
        ({"min_score": 3.0, "track": 2}, Total(2, "gte")),
        ({"min_score": 3.0, "track": 3}, Total(3, "eq")),
        ({"min_score": 9.0}, Total(0, "eq")),
        ({"min_score": 3.0, "track": False}, None),
        ({"min_score": "NaN"}, Total(0, "eq")),
    ],
)
def test_top_level_min_score(options: dict[str, Any], expected: Total | None) -> None:
    assert total(**options) == expected


def test_min_scores_of_retrievers() -> None:
    # the reranker's own: 3 of 5 passed it
    own = reranking(rank_window_size=WINDOW, min_score=2.0)
    three = [RankDoc("films", str(place), place, score=score) for place, score in enumerate([5.0, 4.0, 3.0])]
    assert final_total(request(own), three, counted(None)) == Total(3, "eq")
    lenient = reranking(rank_window_size=WINDOW, min_score=0.0)
    assert final_total(request(lenient), three, counted(None)) == Total(12, "eq")
    # a child's, even of 0, removes the tail
    child = {"standard": {**STANDARD["standard"], "min_score": 0}}
    assert total(child=child) == Total(5, "eq")
    assert total(child=child, min_score=4.5) == Total(5, "eq")  # the top-level one is overwritten


@pytest.mark.parametrize("track", [None, True, False, 2, 3, 4, 9])
def test_a_vector_search_stands_for_what_came_back_reranked(track: bool | int | None) -> None:
    """Two of the five documents that it found had no text."""
    expected = None if track is False else Total(2, "gte") if track == 2 else Total(3, "eq")
    assert total(track, child=KNN, scores=[5.0, 4.0, 3.0]) == expected


def test_nothing_ranked_counts_the_tail() -> None:
    assert total(scores=[]) == Total(12, "eq")
    assert total(0, scores=[]) == Total(0, "eq")
