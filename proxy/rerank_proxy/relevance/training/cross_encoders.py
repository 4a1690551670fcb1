"""The recipe `cross-encoder`: first distilled, then tuned.

A cross-encoder that starts from a bi-encoder's weights knows nothing of pairs. So it first learns the scores
of a teacher (`MarginMSELoss`): those of --teacher, or else those of the base itself fused with the first
stage. That takes thousands of pairs, and no judgments: titles are queries for it, too. Only then it is tuned
with judgments, by one of the losses of `losses.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from datasets import Dataset
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.losses import (
    BinaryCrossEntropyLoss,
    LambdaLoss,
    MarginMSELoss,
)

from rerank_proxy.relevance.progress import Progress
from rerank_proxy.relevance.training.bases import digest_of, kind_of
from rerank_proxy.relevance.training.examples import (
    MARGINS,
    MARGINS_OF_MANY,
    Rows,
    Scores,
    joined,
    lists,
    margins,
    pairs,
    spread,
)
from rerank_proxy.relevance.training.fusing import fit, fused
from rerank_proxy.relevance.training.losses import LossName
from rerank_proxy.relevance.training.material import Material
from rerank_proxy.relevance.training.networks import (
    BiEncoder,
    PairEncoder,
    as_cross_encoder,
    averaged,
    weights_of,
)
from rerank_proxy.relevance.training.trainers import (
    Schedule,
    arguments,
    checkpoints,
    measurements,
    seeded,
    train,
)

_LIST_BATCH: Final = 4
"""Lists of one step: each holds as many texts as a usual step of pairs."""


@dataclass(frozen=True, slots=True)
class _Training:
    """What both stages have in common.

    Attributes:
        dev: The queries by which is stopped early.
        start: By what the weights that it began with are known.
    """

    material: Material
    network: PairEncoder
    dev: Sequence[str]
    device: str
    schedule: Schedule
    work: Path
    start: str
    progress: Progress

    def stage(self, what: str, rows: Rows, loss: torch.nn.Module, *, batch: int | None = None) -> None:
        """Train with some rows, and leave the network with the best weights."""
        schedule = replace(self.schedule, batch=batch or self.schedule.batch)
        folder = checkpoints(self.work, schedule, rows, f"{self.start}:{what}")
        data = Dataset.from_dict(dict(rows))
        measured = sum(len(self.material.window(query)) for query in self.dev)
        given = arguments(
            schedule, len(data), folder, self.device, measurements(schedule.epochs * _texts(rows), measured)
        )
        args = CrossEncoderTrainingArguments(**given)

        def make(**more: Any) -> CrossEncoderTrainer:
            model = self.network.model
            return CrossEncoderTrainer(model=model, args=args, train_dataset=data, loss=loss, **more)

        train(make, what, self.material, self.network, self.dev, folder, self.progress)


def learn(
    material: Material,
    base: Path,
    queries: Sequence[str],
    dev: Sequence[str],
    *,
    device: str,
    schedule: Schedule,
    loss: LossName,
    work: Path,
    progress: Progress,
) -> PairEncoder:
    """Train a cross-encoder with some queries, and stop early by others."""
    seeded(schedule.seed)
    start, taught = base, material
    if kind_of(base) == "bi-encoder":
        start = as_cross_encoder(base, work / "start", schedule.seed)
        if not material.teacher:
            progress("scoring by the base", 0, 1)
            taught = _taught_by_base(material, base, queries, device)
            progress("scoring by the base", 1, 1)
    network = PairEncoder(material, start, device)
    training = _Training(
        material,
        network,
        dev,
        device,
        schedule,
        work,
        f"{digest_of(start)}:{schedule.seed}",
        progress,
    )
    if taught.teacher:
        rows = _distilled(taught, queries, schedule.seed)
        training.stage("distilling", rows, MarginMSELoss(network.model))
    if any(material.relevant(query) for query in queries):
        _tune(training, queries, taught.teacher, loss)
    return network


def _taught_by_base(material: Material, base: Path, queries: Sequence[str], device: str) -> Material:
    """Have the base teach, fused with the first stage as is best for the queries that are trained with."""
    own = BiEncoder(material, base, device).scores(queries)
    weight = fit(material, queries, own)
    practice = material.practice
    if practice is not None:
        others = BiEncoder(practice, base, device).scores([*practice.queries])
        practice = replace(practice, teacher=_fused(practice, others, weight))
    return replace(material, teacher=_fused(material, own, weight), practice=practice)


def _fused(material: Material, scores: Scores, weight: float) -> Scores:
    return {query: dict(fused(material.first[query], of, weight)) for query, of in scores.items()}


def _distilled(taught: Material, queries: Sequence[str], seed: int) -> Rows:
    practice = taught.practice
    if practice is None or not practice.teacher:
        return margins(taught, queries, None, seed, MARGINS)
    return joined(
        margins(taught, queries, None, seed, MARGINS_OF_MANY),
        margins(practice, [*practice.queries], None, seed, MARGINS_OF_MANY),
    )


def _tune(training: _Training, queries: Sequence[str], teacher: Scores, loss: LossName) -> None:
    """Train with judgments.

    Weights are averaged with those from before after LambdaLoss alone: in between, the level of scores that
    binary cross-entropy is for would be neither here nor there.
    """
    material, network, seed = training.material, training.network, training.schedule.seed
    rows = lists(material, queries, spread(material, queries, teacher), seed)
    if loss == "bce":
        rows = pairs(rows)
        relevant = sum(rows["label"])
        even = torch.tensor((len(rows["label"]) - relevant) / max(relevant, 1.0))
        training.stage("tuning", rows, BinaryCrossEntropyLoss(network.model, pos_weight=even))
        return
    before = weights_of(network)
    training.stage("tuning", rows, LambdaLoss(network.model), batch=_LIST_BATCH)
    averaged(material, network, before, training.dev)


def _texts(rows: Rows) -> int:
    """Return how many pairs of query and text the network reads for all rows."""
    columns = [column for name, column in rows.items() if name not in ("query", "label")]
    return sum(len(cell) if isinstance(cell, list) else 1 for column in columns for cell in column)
