"""The recipe `head`: a linear layer above a bi-encoder whose own weights stay as they are.

Texts are encoded once, and what is trained is a square matrix, begun as the identity and held near it. It
turns the space of the embeddings towards what users judge to be alike. With few judgments that is as much as
can be learned, and it takes seconds: the loss is the softmax over all texts at once, each of which is a
negative for every query that it does not answer.

The result is the bi-encoder with a `Dense` and a `Normalize` of sentence-transformers behind it.
"""

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize
from torch.nn.functional import normalize

from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.files import write
from rerank_proxy.relevance.progress import Progress
from rerank_proxy.relevance.training.bases import digest_of, loading
from rerank_proxy.relevance.training.material import Material

_PENALTY: Final = 0.03
"""What the squared distance from the identity counts."""
_STEPS: Final = 30
_RATE: Final = 1e-3
_TEMPERATURE: Final = 1 / 20
_BLOCK: Final = 256
"""Texts that are encoded before progress is told and kept."""
_MOST_TEXTS: Final = 50_000
"""Texts in the softmax: their embeddings are held in memory several times."""
_MOST_CELLS: Final = 50_000_000
"""Queries times texts that are compared at once: each takes some bytes several times."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """The embeddings of queries and texts, of length 1.

    Attributes:
        queries, documents: The rows of each id.
        of_queries, of_documents: Shapes (queries, dimensions) and (documents, dimensions).
    """

    material: Material
    queries: Mapping[str, int]
    documents: Mapping[str, int]
    of_queries: torch.Tensor
    of_documents: torch.Tensor


class Head:
    """A layer that was trained.

    Attributes:
        weight: Shape (dimensions, dimensions).
    """

    def __init__(self, embedded: Embedded, weight: torch.Tensor, base: Path) -> None:
        self.weight = weight
        self._embedded = embedded
        self._base = base
        self._documents = normalize(embedded.of_documents @ weight.T, dim=1)

    def scores(self, queries: Sequence[str]) -> dict[str, dict[str, float]]:
        found = {}
        for query in queries:
            embedded = self._embedded
            names = embedded.material.window(query)
            rows = self._documents[[embedded.documents[name] for name in names]]
            own = normalize(embedded.of_queries[embedded.queries[query]] @ self.weight.T, dim=0)
            found[query] = dict(zip(names, (rows @ own).tolist(), strict=True))
        return found

    def save(self, directory: Path) -> None:
        model = SentenceTransformer(str(self._base), device="cpu", local_files_only=True)
        size = len(self.weight)
        layer = Dense(
            size, size, bias=False, activation_function=torch.nn.Identity(), init_weight=self.weight.clone()
        )
        model.append(layer)
        model.append(Normalize())
        model.save(str(directory), create_model_card=False)


def unchanged(embedded: Embedded, base: Path) -> Head:
    """Return the layer that changes nothing: the base itself."""
    return Head(embedded, torch.eye(embedded.of_queries.shape[1]), base)


def learn(embedded: Embedded, base: Path, train: Sequence[str]) -> Head:
    """Train the layer with some queries. Nothing in it is random."""
    material = embedded.material
    judged = {name for query in train for name in material.relevant(query)}
    rows = _rows(embedded, judged)
    wanted = [_shares(material.relevant(query), rows) for query in train]
    queries = embedded.of_queries[[embedded.queries[query] for query in train]]
    documents = embedded.of_documents[[embedded.documents[name] for name in rows]]
    identity = torch.eye(queries.shape[1])
    weight = identity.clone().requires_grad_()
    optimiser = torch.optim.Adam([weight], lr=_RATE)
    block = max(1, _MOST_CELLS // len(rows))
    for _ in range(_STEPS):
        optimiser.zero_grad()
        for start in range(0, len(train), block):
            targets = _filled(wanted[start : start + block], len(rows))
            own = normalize(queries[start : start + block] @ weight.T, dim=1)
            logits = own @ normalize(documents @ weight.T, dim=1).T / _TEMPERATURE
            torch.autograd.backward([-(targets * logits.log_softmax(dim=1)).sum() / len(train)])
        torch.autograd.backward([_PENALTY * ((weight - identity) ** 2).sum()])
        optimiser.step()
    return Head(embedded, weight.detach(), base)


def _shares(grades: Mapping[str, int], rows: Mapping[str, int]) -> dict[int, float]:
    """Return which texts a query should find, by their rows, with their shares of its grades."""
    known = {rows[name]: grade for name, grade in grades.items() if name in rows}
    total = max(sum(known.values()), 1)
    return {row: grade / total for row, grade in known.items()}


def _filled(wanted: Sequence[Mapping[int, float]], width: int) -> torch.Tensor:
    targets = torch.zeros(len(wanted), width)
    for place, shares in enumerate(wanted):
        for row, share in shares.items():
            targets[place, row] = share
    return targets


def _rows(embedded: Embedded, judged: set[str]) -> dict[str, int]:
    """Return the texts of the softmax: what is judged, and as many others as there is room for."""
    others = [name for name in embedded.documents if name not in judged]
    names = [*sorted(judged), *others][:_MOST_TEXTS]
    return {name: row for row, name in enumerate(names)}


def embed(material: Material, base: Path, device: str, work: Path, progress: Progress) -> Embedded:
    """Encode all queries and texts. What was encoded before a run was stopped is read from `work`.

    Raises:
        RelevanceError: The model does not compare by cosine.
    """
    with loading(base):
        model = SentenceTransformer(str(base), device=device, local_files_only=True)
    if model.similarity_fn_name not in ("cosine", None):
        raise RelevanceError(
            f"--base {base}: compares by {model.similarity_fn_name}, and the recipe head needs a model that "
            "compares by cosine: use --recipe bi-encoder"
        )
    digest = digest_of(base)
    queries, documents = list(material.queries), sorted(material.texts)
    of_queries = _encoded(
        model.encode_query,
        [material.queries[name].text for name in queries],
        work,
        digest,
        "queries",
        progress,
    )
    of_documents = _encoded(
        model.encode_document, [material.texts[name] for name in documents], work, digest, "texts", progress
    )
    return Embedded(
        material,
        {name: row for row, name in enumerate(queries)},
        {name: row for row, name in enumerate(documents)},
        normalize(of_queries, dim=1),
        normalize(of_documents, dim=1),
    )


def _encoded(
    encode: Callable[..., Any], texts: Sequence[str], work: Path, digest: str, what: str, progress: Progress
) -> torch.Tensor:
    parts = []
    for start in range(0, len(texts), _BLOCK):
        part = texts[start : start + _BLOCK]
        key = hashlib.sha256("\0".join([digest, what, *part]).encode()).hexdigest()[:32]
        path = work / f"embeddings-{key}.npy"
        if path.exists():
            values = np.load(path, allow_pickle=False)
        else:
            values = np.asarray(encode(list(part), show_progress_bar=False), dtype=np.float32)
            buffer = io.BytesIO()
            np.save(buffer, values)
            write(path, buffer.getvalue(), 0o600)
        parts.append(torch.from_numpy(values))
        progress(f"encoding {what}", min(start + _BLOCK, len(texts)), len(texts))
    return torch.cat(parts)
