"""The recipe `cross-encoder`: first distilled, then tuned.

A cross-encoder that starts from a bi-encoder's weights knows nothing of pairs. So it first learns the scores
of a teacher (`MarginMSELoss`): those of --teacher, or else those of the base itself fused with the first
stage. Only then it is tuned with judgments, by a loss that is made of the measure itself (`LambdaLoss`).
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.losses import LambdaLoss, MarginMSELoss

from rerank_proxy.relevance.progress import Progress
from rerank_proxy.relevance.training.bases import digest_of, kind_of
from rerank_proxy.relevance.training.examples import lists, margins, spread
from rerank_proxy.relevance.training.material import Material
from rerank_proxy.relevance.training.networks import (
    BiEncoder,
    PairEncoder,
    as_cross_encoder,
    averaged,
    weights_of,
)
from rerank_proxy.relevance.training.trainers import Schedule, arguments, checkpoints, seeded, train


def learn(
    material: Material,
    base: Path,
    queries: Sequence[str],
    dev: Sequence[str],
    *,
    device: str,
    schedule: Schedule,
    work: Path,
    progress: Progress,
) -> PairEncoder:
    """Train a cross-encoder with some queries, and stop early by others."""
    seeded(schedule.seed)
    start, teacher = base, material.teacher
    if kind_of(base) == "bi-encoder":
        start = as_cross_encoder(base, work / "start", schedule.seed)
        teacher = teacher or BiEncoder(material, base, device).scores([*queries])
    network = PairEncoder(material, start, device)

    def stage(what: str, rows: Mapping[str, Sequence[Any]], loss: torch.nn.Module, begun: str) -> None:
        folder = checkpoints(work, schedule, rows, begun)
        data = Dataset.from_dict(dict(rows))
        args = CrossEncoderTrainingArguments(**arguments(schedule, len(data), folder, device))

        def make(**more: Any) -> CrossEncoderTrainer:
            return CrossEncoderTrainer(model=network.model, args=args, train_dataset=data, loss=loss, **more)

        train(make, what, material, network, dev, folder, progress)

    _stages(
        material, network, queries, teacher, stage, f"{digest_of(start)}:{schedule.seed}", schedule.seed, dev
    )
    return network


def _stages(
    material: Material,
    network: PairEncoder,
    queries: Sequence[str],
    teacher: Mapping[str, Mapping[str, float]],
    stage: Callable[[str, Mapping[str, Sequence[Any]], torch.nn.Module, str], None],
    start: str,
    seed: int,
    dev: Sequence[str],
) -> None:
    if teacher:
        taught = Material(
            material.queries, material.judgments, material.first, material.texts, teacher=teacher
        )
        rows = margins(taught, queries, None, seed)
        stage("distilling", rows, MarginMSELoss(network.model), f"{start}:distilled")
    if any(material.relevant(query) for query in queries):
        before = weights_of(network)
        rows = lists(material, queries, spread(material, queries, teacher), seed)
        stage("tuning", rows, LambdaLoss(network.model), f"{start}:tuned")
        averaged(material, network, before, dev)
