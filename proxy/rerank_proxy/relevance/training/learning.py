"""What recipes have in common: they learn from some queries, and score others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rerank_proxy.relevance.judgments import Ranked
from rerank_proxy.relevance.training.fusing import fit, fused
from rerank_proxy.relevance.training.material import Material
from rerank_proxy.relevance.training.splitting import folds

Scores = Mapping[str, Mapping[str, float]]
"""Raw scores by query and document."""
_INNER_FOLDS: int = 4


class Learned(Protocol):
    """A model that was trained."""

    def scores(self, queries: Sequence[str]) -> Scores:
        """Score the window of each query."""

    def save(self, directory: Path) -> None:
        """Write the model as a directory of sentence-transformers."""


Learn = Callable[[Sequence[str]], Learned]
"""Trains a model with some queries, by their ids."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A trained model, and the weight of the first stage in the fusion with it."""

    model: Learned
    weight: float

    def run(self, material: Material, queries: Sequence[str]) -> dict[str, Ranked]:
        """Rank the windows of queries."""
        scores = self.model.scores(queries)
        return {query: fused(material.first[query], scores[query], self.weight) for query in queries}


def with_weight(material: Material, learn: Learn, train: Sequence[str], seed: int) -> Ready:
    """Train a model and find its weight, for recipes that take seconds.

    The weight is found with scores of models that were not trained with the query in question: otherwise it
    would trust the model too much.
    """
    queries = {name: material.queries[name] for name in train}
    apart: dict[str, Mapping[str, float]] = {}
    for part in folds(queries, _INNER_FOLDS, seed + 1):
        apart.update(learn(part.train).scores(part.held_out))
    return Ready(learn(train), fit(material, train, apart))
