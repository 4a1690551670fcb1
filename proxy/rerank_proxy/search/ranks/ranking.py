"""Order and cut the documents of a window as native does."""

from collections.abc import Sequence
from itertools import groupby, pairwise

import msgspec
import numpy as np

from rerank_proxy.search.ranks.scores import MIN_VALUE, Float32s, normalize, reciprocal_ranks


class RankDoc(msgspec.Struct, frozen=True, gc=False):
    """A document of a window. (A frozen dataclass would take several times as long to create.)

    Attributes:
        place: Its rank in the window, from 0.
        shard_doc: `shard index << 32 | Lucene doc id`, by which native breaks ties; None if unknown.
        first_score: Its score in the child's search; None if the child sorts by something else.
        text: The text that is scored; None if the document has none or it was not read.
        score: The score that it is ranked by, a float32; 0 before it is ranked.
    """

    index: str
    id: str
    place: int
    shard_doc: int | None = None
    first_score: float | None = None
    text: str | None = None
    score: float = 0.0

    def scored(self, score: float) -> "RankDoc":
        """Return the document with a score."""
        return RankDoc(self.index, self.id, self.place, self.shard_doc, self.first_score, self.text, score)


def rank(window: Sequence[RankDoc], raw: Sequence[float], min_score: float | None) -> list[RankDoc]:
    """Order documents by their relevance scores as native does.

    Args:
        window: The documents that have text.
        raw: The raw score of each document.
        min_score: The reranker's `min_score`, which the *raw* score must reach. Native compares before it
            normalises; the later comparisons with the normalised score, which is larger, then always hold
            (``TextSimilarityRankFeaturePhaseRankCoordinatorContext``).

    Returns:
        The kept documents, by descending normalised score, then shard, then doc.
    """
    return _ordered(window, normalize(raw), _passing(np.asarray(raw, dtype=np.float32), min_score))


def keep_order(window: Sequence[RankDoc], *, collapsed: bool = False) -> list[RankDoc]:
    """Return the window in its order, scored 1, 1/2, 1/3 …: the result if `allow_rerank_failures` applies.

    Args:
        collapsed: Whether the child collapses: then its scores are kept, if it sorts by them.
    """
    scores = reciprocal_ranks(len(window))
    if collapsed and all(doc.first_score is not None for doc in window):
        scores = np.array([doc.first_score for doc in window], dtype=np.float32)
    return _ordered(window, scores, [True] * len(window))


def reaching(docs: Sequence[RankDoc], min_score: float | None) -> list[RankDoc]:
    """Return the documents from the rank phase whose score reaches the reranker's `min_score`.

    (``TextSimilarityRankRetrieverBuilder#combineInnerRetrieverResults``.)
    """
    least = -np.inf if min_score is None else float(np.float32(min_score))
    return [doc for doc in docs if doc.score >= least]


def searched(docs: Sequence[RankDoc], window: int) -> Sequence[RankDoc]:
    """Return ranked documents as a search for them finds them: the first `window` by score.

    Scores below the smallest positive float, such as that of the tail, are raised to it (``RankDocsQuery``).
    """
    lifted = (doc.scored(MIN_VALUE) if doc.score < MIN_VALUE else doc for doc in docs)
    return sorted(lifted, key=native_order)[:window]


def has_open_ties(ranked: Sequence[RankDoc], start: int, stop: int) -> bool:
    """Return whether native may order equal scores that reach into ``ranked[start:stop]`` differently.

    Without `shard_doc`, documents that also have equal scores in the child's search are in native order
    already (score, shard, doc). Of others the order is unknown.
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
    """Return the key by which ``RankDoc#compareTo`` sorts ranked documents: score, then shard, then doc."""
    return -doc.score, doc.place if doc.shard_doc is None else doc.shard_doc
