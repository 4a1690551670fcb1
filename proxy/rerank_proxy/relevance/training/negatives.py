"""Hard negatives: documents that the index finds for a query, and that do not answer it.

They stand below the best of the first stage, where a reranker has to tell them apart. What is judged to be
relevant is never one. What is not judged may be relevant all the same; so a document counts as negative only
if a scorer (the teacher, or else the base model) gives it clearly less than the document that answers the
query. (Moreira and others, "NV-Retriever: Improving text embedding models with effective hard-negative
mining", 2024, compare such limits; relative to the positive's score is the one that they found best.)
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from rerank_proxy.relevance.training.material import Material

MARGIN: Final = 0.95
"""The share of the positive's score, counted from the window's lowest, that an unjudged document may have."""


def negatives_of(
    material: Material,
    query: str,
    positive: str,
    scores: Mapping[str, float],
    count: int,
    *,
    seed: int,
    margin: float = MARGIN,
) -> list[str]:
    """Return up to `count` hard negatives for a query and one of its relevant documents.

    Half of them are those that the scorer ranks highest, the others are drawn from the window.

    Args:
        scores: Of the scorer for the documents of the window, and for the positive if it is not in there.
    """
    relevant = material.relevant(query)
    grades = material.judgments.get(query, {})
    limit = _limit(scores, positive, margin)
    found = [
        name
        for name in material.window(query)
        if name not in relevant
        and name != positive
        and material.texts[name] != material.texts[positive]
        and name in scores
        and (name in grades or scores[name] < limit)
    ]
    hardest = sorted(found, key=lambda name: -scores[name])
    chosen = hardest[: (count + 1) // 2]
    rest = _shuffled([name for name in hardest if name not in {*chosen}], f"{seed}:{query}:{positive}")
    return chosen + rest[: count - len(chosen)]


def _limit(scores: Mapping[str, float], positive: str, margin: float) -> float:
    if positive not in scores:
        return float("inf")
    lowest = min(scores.values())
    return lowest + margin * (scores[positive] - lowest)


def _shuffled(names: Sequence[str], seed: str) -> list[str]:
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
