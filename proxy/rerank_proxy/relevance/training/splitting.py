"""Which queries a model is trained with, and which it never sees.

A query's place follows from its text and the seed alone: whatever else is in the file, it stays on its side.
Queries with the same text, up to case, blanks and forms of characters, are on the same side.
"""

import hashlib
import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rerank_proxy.relevance.judgments import Query


@dataclass(frozen=True, slots=True)
class Part:
    """A division of queries, by their ids.

    Attributes:
        train: For training, and for everything that is chosen by the outcome.
        held_out: For measuring, and nothing else.
    """

    train: Sequence[str]
    held_out: Sequence[str]


def same_text(text: str) -> str:
    """Return what queries have in common that count as the same."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def held_out(queries: Mapping[str, Query], share: float, seed: int) -> Part:
    """Keep back a share of the queries: those whose texts have the lowest digests."""
    groups = _groups(queries.values(), seed)
    count = min(math.ceil(len(groups) * share), max(len(groups) - 1, 0))
    return Part(_ids(groups[count:]), _ids(groups[:count]))


def folds(queries: Mapping[str, Query], count: int, seed: int) -> list[Part]:
    """Divide queries so that each is held out once.

    Raises:
        ValueError: There are fewer different texts than folds.
    """
    groups = _groups(queries.values(), seed)
    if not 2 <= count <= len(groups):
        raise ValueError(f"{len(groups)} different queries cannot be divided into {count} folds")
    return [
        Part(
            _ids(group for place, group in enumerate(groups) if place % count != fold),
            _ids(groups[fold::count]),
        )
        for fold in range(count)
    ]


def _groups(queries: Iterable[Query], seed: int) -> list[list[str]]:
    """Return the ids of queries with the same text, ordered by a digest of seed and text."""
    found: dict[str, list[str]] = {}
    for query in queries:
        found.setdefault(same_text(query.text), []).append(query.id)
    order = sorted(found, key=lambda text: hashlib.sha256(f"{seed}:{text}".encode()).digest())
    return [sorted(found[text]) for text in order]


def _ids(groups: Iterable[Sequence[str]]) -> list[str]:
    return [name for group in groups for name in group]
