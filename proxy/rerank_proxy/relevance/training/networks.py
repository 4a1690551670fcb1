"""Whole networks as models that score windows: what both trainers of sentence-transformers work on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rerank_proxy.relevance.measures import means, values
from rerank_proxy.relevance.training.bases import loading
from rerank_proxy.relevance.training.fusing import MEASURE
from rerank_proxy.relevance.training.material import Material, reordered

_BATCH = 32


class Network(Protocol):
    """A model of sentence-transformers with the material that it scores."""

    model: Any

    def scores(self, queries: Sequence[str]) -> dict[str, dict[str, float]]:
        """Score the window of each query."""

    def save(self, directory: Path) -> None:
        """Write the model as a directory of sentence-transformers."""


class BiEncoder:
    """A bi-encoder. Each text is encoded once for all queries that are scored together."""

    def __init__(self, material: Material, base: Path, device: str) -> None:
        with loading(base):
            self.model: Any = SentenceTransformer(str(base), device=device, local_files_only=True)
        self._material = material

    def scores(self, queries: Sequence[str]) -> dict[str, dict[str, float]]:
        material = self._material
        names = sorted({name for query in queries for name in material.window(query)})
        rows = {name: row for row, name in enumerate(names)}
        quiet = {"show_progress_bar": False, "batch_size": _BATCH, "convert_to_tensor": True}
        own = self.model.encode_query([material.queries[query].text for query in queries], **quiet)
        others = self.model.encode_document([material.texts[name] for name in names], **quiet)
        found = {}
        for place, query in enumerate(queries):
            window = material.window(query)
            if window:
                values_of = self.model.similarity(own[place], others[[rows[name] for name in window]])[0]
                found[query] = dict(zip(window, values_of.float().cpu().tolist(), strict=True))
            else:
                found[query] = {}
        return found

    def save(self, directory: Path) -> None:
        self.model.save(str(directory), create_model_card=False)


class PairEncoder:
    """A cross-encoder."""

    def __init__(self, material: Material, base: Path, device: str) -> None:
        with loading(base):
            self.model: Any = CrossEncoder(str(base), device=device, num_labels=1, local_files_only=True)
        self._material = material

    def scores(self, queries: Sequence[str]) -> dict[str, dict[str, float]]:
        material = self._material
        windows = {query: material.window(query) for query in queries}
        pairs = [
            (material.queries[query].text, material.texts[name])
            for query, names in windows.items()
            for name in names
        ]
        if not pairs:
            return {query: {} for query in queries}
        logits = self.model.predict(
            pairs, batch_size=_BATCH, show_progress_bar=False, activation_fn=torch.nn.Identity()
        )
        flat = iter(np.asarray(logits, dtype=np.float64).reshape(-1).tolist())
        return {query: {name: next(flat) for name in names} for query, names in windows.items()}

    def save(self, directory: Path) -> None:
        self.model.save(str(directory), create_model_card=False)


def as_cross_encoder(bi_encoder: Path, directory: Path, seed: int) -> Path:
    """Make a cross-encoder of a bi-encoder's transformer, with a new head of one label, in a directory.

    It reads as many tokens as the bi-encoder does: that is what the weights have been trained with.
    """
    torch.manual_seed(seed)
    with loading(bi_encoder):
        model = AutoModelForSequenceClassification.from_pretrained(
            str(bi_encoder), num_labels=1, local_files_only=True
        )
        tokenizer = AutoTokenizer.from_pretrained(str(bi_encoder), local_files_only=True)
        read = SentenceTransformer(str(bi_encoder), device="cpu", local_files_only=True).max_seq_length
    tokenizer.model_max_length = min(read or tokenizer.model_max_length, tokenizer.model_max_length)
    model.save_pretrained(str(directory))
    tokenizer.save_pretrained(str(directory))
    return directory


def reached(material: Material, network: Network, queries: Sequence[str]) -> float:
    """Return the mean nDCG@10 of a network alone over some queries."""
    scores = network.scores(queries)
    run = {query: reordered(list(of), of) for query, of in scores.items()}
    judgments = {query: material.judgments[query] for query in queries}
    return means(values(judgments, run, [MEASURE]))[MEASURE]


def averaged(
    material: Material, network: Network, start: Mapping[str, torch.Tensor], dev: Sequence[str]
) -> float:
    """Give a network the mean of its weights and those that it started from, as is best for some queries.

    Between the two the network often generalises better than at either end, above all after few examples.
    (Wortsman and others, "Robust fine-tuning of zero-shot models", CVPR 2022.)

    Returns:
        The share of the trained weights; 0 if the start was best.
    """
    trained = {name: value.detach().clone() for name, value in network.model.state_dict().items()}
    outcomes = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        _set(network, start, trained, share)
        outcomes.append((round(reached(material, network, dev), 6), share))
    best = max(outcomes)[1]
    _set(network, start, trained, best)
    return best


def weights_of(network: Network) -> dict[str, torch.Tensor]:
    """Return a copy of a network's weights."""
    return {name: value.detach().clone() for name, value in network.model.state_dict().items()}


def _set(
    network: Network, start: Mapping[str, torch.Tensor], trained: Mapping[str, torch.Tensor], share: float
) -> None:
    network.model.load_state_dict(
        {
            name: torch.lerp(start[name].to(value.device), value, share)
            if value.is_floating_point()
            else value
            for name, value in trained.items()
        }
    )
