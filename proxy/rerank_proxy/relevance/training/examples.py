"""The examples that the trainers get, as columns."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from rerank_proxy.relevance.training.material import Material
from rerank_proxy.relevance.training.negatives import negatives_of

Scores = Mapping[str, Mapping[str, float]]
Rows = dict[str, list[Any]]

_POSITIVES: Final = 32
"""Relevant documents of one query that are used, so that no query outweighs the others."""
MARGINS: Final = 32
"""Pairs of texts of one query whose scores are compared."""
MARGINS_OF_MANY: Final = 4
"""The same where titles are queries, too: a few pairs of many queries teach more than the reverse."""
_LIST: Final = 16
"""Texts of one list."""
_SPREAD: Final = 3.0
"""The standard deviation of a teacher's scores for a model that has none of its own."""


def contrasts(material: Material, queries: Sequence[str], scores: Scores, negatives: int, seed: int) -> Rows:
    """Return rows of query, relevant text and hard negatives.

    Args:
        scores: Those by which false negatives are found: a teacher's, or the model's own.
    """
    names = ["anchor", "positive", *(f"negative_{number}" for number in range(1, negatives + 1))]
    rows: Rows = {name: [] for name in names}
    for query in queries:
        relevant = drawn(list(material.relevant(query)), _POSITIVES, f"{seed}:{query}")
        for positive in relevant:
            found = negatives_of(material, query, positive, scores.get(query, {}), negatives, seed=seed)
            if len(found) < negatives:
                continue
            texts = [material.queries[query].text, *(material.texts[name] for name in [positive, *found])]
            for column, text in zip(names, texts, strict=True):
                rows[column].append(text)
    return rows


def titled(material: Material) -> Rows:
    """Return rows of a title and the text of its document: queries that cost no judgments."""
    names = sorted(material.titles)
    return {
        "anchor": [material.titles[name] for name in names],
        "positive": [material.texts[name] for name in names],
    }


def margins(
    material: Material, queries: Sequence[str], own: Scores | None, seed: int, count: int = MARGINS
) -> Rows:
    """Return rows of query and two texts, with the difference of their scores by the teacher.

    The teacher's scores are brought to the spread of the model's own, since a difference of 10 between
    logits is beyond what a cosine can be.

    Args:
        own: The model's scores; None for a model that has no scores yet.
        count: Rows of one query, at most.
    """
    scale = _deviation(material.teacher, queries)
    wanted = _SPREAD if own is None else _deviation(own, queries)
    factor = wanted / scale if scale > 0 else 1.0
    rows: Rows = {"query": [], "one": [], "two": [], "label": []}
    for query in queries:
        scores = material.teacher.get(query, {})
        ordered = sorted(scores, key=lambda name: -scores[name])
        half = max(1, len(ordered) // 2)
        upper = [(one, two) for place, one in enumerate(ordered[:half]) for two in ordered[place + 1 :]]
        for one, two in drawn(upper, count, f"{seed}:{query}"):
            rows["query"].append(material.queries[query].text)
            rows["one"].append(material.texts[one])
            rows["two"].append(material.texts[two])
            rows["label"].append(factor * (scores[one] - scores[two]))
    return rows


def lists(material: Material, queries: Sequence[str], scores: Scores, seed: int) -> Rows:
    """Return rows of query, texts and grades: relevant ones and hard negatives."""
    rows: Rows = {"query": [], "documents": [], "label": []}
    for query in queries:
        relevant = material.relevant(query)
        for part in _parts(drawn(list(relevant), _POSITIVES, f"{seed}:{query}"), _LIST // 2):
            negatives = negatives_of(
                material, query, part[0], scores.get(query, {}), _LIST - len(part), seed=seed
            )
            if negatives:
                names = part + negatives
                rows["query"].append(material.queries[query].text)
                rows["documents"].append([material.texts[name] for name in names])
                rows["label"].append([float(relevant.get(name, 0)) for name in names])
    return rows


def pairs(of_lists: Rows) -> Rows:
    """Return the texts of lists one by one: rows of query, text, and whether it is relevant."""
    rows: Rows = {"query": [], "document": [], "label": []}
    seen: set[tuple[str, str]] = set()
    for query, documents, labels in zip(*of_lists.values(), strict=True):
        for document, label in zip(documents, labels, strict=True):
            if (query, document) not in seen:
                seen.add((query, document))
                rows["query"].append(query)
                rows["document"].append(document)
                rows["label"].append(float(label > 0))
    return rows


def joined(*parts: Rows) -> Rows:
    """Return the rows of all parts, which have the same columns."""
    return {name: [value for rows in parts for value in rows[name]] for name in parts[0]}


def spread(material: Material, queries: Sequence[str], scores: Scores) -> Scores:
    """Return scores of the queries: given ones, or else those of the first stage."""
    if scores:
        return scores
    return {query: {hit.id: hit.score for hit in material.first.get(query, ())} for query in queries}


def _deviation(scores: Scores, queries: Sequence[str]) -> float:
    """Return the standard deviation of scores around the mean of their query."""
    centred = [
        np.array([*of.values()]) - np.mean([*of.values()]) for query in queries if (of := scores.get(query))
    ]
    return float(np.concatenate(centred).std()) if centred else 0.0


def drawn(names: Sequence[Any], count: int, seed: str) -> list[Any]:
    """Return up to `count` of some names, the same ones for the same seed."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())[:count]


def _parts(names: Sequence[str], size: int) -> list[list[str]]:
    return [list(names[start : start + size]) for start in range(0, len(names), size)]
