"""Which documents of a window are kept, in which order, with which scores."""

from collections.abc import Sequence
from itertools import groupby, pairwise

import msgspec
import numpy as np

from rerank_proxy.search.ranks.scores import MIN_VALUE, Float32s, normalize, reciprocal_ranks


class RankDoc(msgspec.Struct, frozen=True, gc=False):
    """A document of the window. (A frozen dataclass takes several times as long to make.)

    Attributes:
        place: Its rank in the window, from 0.
        shard_doc: `shard index << 32 | Lucene doc id`, by which native breaks ties; None where unknown.
        first_score: Its score in the child's search; None where the child sorts by something else.
        score: After ranking, a float32; before, 0.
    """

    index: str
    id: str
    place: int
    shard_doc: int | None = None
    first_score: float | None = None
    text: str | None = None
    score: float = 0.0

    def scored(self, score: float) -> "RankDoc":
        """The same document with its score."""
        return RankDoc(self.index, self.id, self.place, self.shard_doc, self.first_score, self.text, score)


def rank(window: Sequence[RankDoc], raw: Sequence[float], min_score: float | None) -> list[RankDoc]:
    """Order documents by their relevance scores as native does.

    Args:
        window: The documents that have text.
        raw: One relevance score for each, before normalising.
        min_score: The reranker's own, compared with the *raw* score: native tests it before normalising, and
            the later tests on the larger normalised score then always hold
            (``TextSimilarityRankFeaturePhaseRankCoordinatorContext``).

    Returns:
        The kept documents, by descending float32 score, then shard, then doc.
    """
    return _ordered(window, normalize(raw), _passing(np.asarray(raw, dtype=np.float32), min_score))


def keep_order(window: Sequence[RankDoc], *, collapsed: bool = False) -> list[RankDoc]:
    """The window as it came, scored 1, 1/2, 1/3 …: what `allow_rerank_failures` leaves of a failure.

    Args:
        collapsed: Whether the child collapses, which keeps its scores, if it sorts by them.
    """
    scores = reciprocal_ranks(len(window))
    if collapsed and all(doc.first_score is not None for doc in window):
        scores = np.array([doc.first_score for doc in window], dtype=np.float32)
    return _ordered(window, scores, [True] * len(window))


def reaching(docs: Sequence[RankDoc], min_score: float | None) -> list[RankDoc]:
    """What the reranker's own `min_score` leaves of what came back from the rank phase, by final scores
    (``TextSimilarityRankRetrieverBuilder#combineInnerRetrieverResults``).
    """
    least = -np.inf if min_score is None else float(np.float32(min_score))
    return [doc for doc in docs if doc.score >= least]


def searched(docs: Sequence[RankDoc], window: int) -> Sequence[RankDoc]:
    """What a search for ranked documents returns of them: the first `window` by score, none with a score of
    the tail (``RankDocsQuery``: one below the smallest positive float is lifted to it).
    """
    lifted = (doc.scored(MIN_VALUE) if doc.score < MIN_VALUE else doc for doc in docs)
    return sorted(lifted, key=native_order)[:window]


def has_open_ties(ranked: Sequence[RankDoc], start: int, stop: int) -> bool:
    """Whether the order of equal scores that reach into ``ranked[start:stop]`` is unknown.

    Without `shard_doc`, two documents that were equal in the child's search too stand in native order already
    (score, shard, doc); two that were not may stand either way.
    """
    if all(one.score != next_.score for one, next_ in pairwise(ranked[max(0, start - 1) : stop + 1])):
        return False
    place = 0
    for _, equals in groupby(ranked, key=lambda doc: doc.score):
        group = list(equals)
        if place < stop and place + len(group) > start and not _is_settled(group):
            return True
        place += len(group)
    return False


def _is_settled(equals: Sequence[RankDoc]) -> bool:
    first = equals[0]
    if len(equals) == 1 or first.shard_doc is not None:
        return True
    return first.first_score is not None and all(doc.first_score == first.first_score for doc in equals)


def _passing(scores: Float32s, min_score: float | None) -> Sequence[bool]:
    if min_score is None:
        return [True] * len(scores)
    passing: list[bool] = (scores >= np.float32(min_score)).tolist()
    return passing


def _ordered(docs: Sequence[RankDoc], scores: Float32s, passing: Sequence[bool]) -> list[RankDoc]:
    kept = [
        doc.scored(score) for doc, score, passes in zip(docs, scores.tolist(), passing, strict=True) if passes
    ]
    kept.sort(key=native_order)
    return kept


def native_order(doc: RankDoc) -> tuple[float, int]:
    """The key that sorts ranked documents as ``RankDoc#compareTo`` does: score, then shard, then doc."""
    return -doc.score, doc.place if doc.shard_doc is None else doc.shard_doc
