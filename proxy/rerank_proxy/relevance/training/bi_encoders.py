"""The recipe `bi-encoder`: all weights of a bi-encoder, trained with hard negatives.

With judgments the loss is that of ranking the right text above its negatives and those of the other queries
in the batch (`MultipleNegativesRankingLoss`). With a teacher it is the difference between the margins of two
texts (`MarginMSELoss`), in the teacher's scores and in the model's.

Titles of documents can be queries besides: what they ask for is the text that they stand above.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from datasets import Dataset
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MarginMSELoss, MultipleNegativesRankingLoss

from rerank_proxy.relevance.progress import Progress
from rerank_proxy.relevance.training.bases import digest_of
from rerank_proxy.relevance.training.examples import contrasts, margins, titled
from rerank_proxy.relevance.training.material import Material
from rerank_proxy.relevance.training.networks import BiEncoder, averaged, weights_of
from rerank_proxy.relevance.training.trainers import Schedule, arguments, checkpoints, seeded, train

_NEGATIVES: Final = 1


def _contrasts(
    material: Material, queries: Sequence[str], own: Mapping[str, Mapping[str, float]], seed: int
) -> dict[str, list[Any]]:
    """Return the rows with judgments. With titles there are many more, without hard negatives."""
    if not material.titles:
        return contrasts(material, queries, own, _NEGATIVES, seed)
    judged, others = contrasts(material, queries, own, 0, seed), titled(material)
    return {name: judged[name] + others[name] for name in judged}


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
) -> BiEncoder:
    """Train a bi-encoder with some queries, and stop early by others."""
    seeded(schedule.seed)
    network = BiEncoder(material, base, device)
    start = weights_of(network)
    own = network.scores(queries)
    if material.teacher:
        rows = margins(material, queries, own, schedule.seed)
        loss: Any = MarginMSELoss(network.model)
    else:
        rows = _contrasts(material, queries, own, schedule.seed)
        loss = MultipleNegativesRankingLoss(network.model)
    folder = checkpoints(work, schedule, rows, digest_of(base))
    data = Dataset.from_dict(rows)

    def make(**more: Any) -> SentenceTransformerTrainer:
        given = arguments(schedule, len(data), folder, device)
        kind = {} if material.teacher else {"batch_sampler": "no_duplicates"}
        args = SentenceTransformerTrainingArguments(**given, **kind)
        return SentenceTransformerTrainer(
            model=network.model, args=args, train_dataset=data, loss=loss, **more
        )

    train(make, "training the bi-encoder", material, network, dev, folder, progress)
    averaged(material, network, start, dev)
    return network
