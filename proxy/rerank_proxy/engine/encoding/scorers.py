"""From a call to what the model has to run, and from its outputs to scores. Pure; no torch.

A call has *inputs*, each with a key that names it for the cache: one per text for a cross-encoder, the query
and one per text for a bi-encoder.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from rerank_proxy.engine.batching.backend import Backend
from rerank_proxy.engine.batching.batch import Row
from rerank_proxy.engine.batching.cache import Output, keys
from rerank_proxy.engine.encoding.encode import PairEncoder, TextEncoder

Activation = Literal["identity", "sigmoid"]


class Scorer(Protocol):
    """How one kind of model scores. All methods may be called from any thread."""

    texts_at: int
    """Position of the first text among the inputs."""

    def keys(self, query: str, texts: Sequence[str]) -> list[bytes]:
        """A key per input. Equal keys have equal outputs."""

    def encode(self, query: str, texts: Sequence[str], wanted: Sequence[int]) -> Iterator[list[Row]]:
        """Rows of the inputs at the wanted positions, in several lists, each of which is soon there."""

    def scores(self, outputs: Sequence[Output]) -> list[float]:
        """One float32 per text, as Python floats in input order."""


class CrossEncoder:
    """Query and text together give the score: the raw logit, or its sigmoid."""

    texts_at = 0

    def __init__(
        self, fingerprint: str, encoder: PairEncoder, prompt: str = "", activation: Activation = "identity"
    ) -> None:
        self._fingerprint = fingerprint
        self._encoder = encoder
        self._prompt = prompt
        self._activation = activation

    def keys(self, query: str, texts: Sequence[str]) -> list[bytes]:
        return keys(self._fingerprint, self._prompt + query, texts)

    def encode(self, query: str, texts: Sequence[str], wanted: Sequence[int]) -> Iterator[list[Row]]:
        return self._encoder.encode(self._prompt + query, [texts[at] for at in wanted])

    def scores(self, outputs: Sequence[Output]) -> list[float]:
        logits = np.array([output.values[0] for output in outputs], np.float32)
        if self._activation == "sigmoid":
            logits = np.exp(-np.logaddexp(0.0, -logits.astype(np.float64))).astype(np.float32)
        scores: list[float] = logits.tolist()
        return scores


class BiEncoder:
    """Query and text are embedded apart; the score is the cosine of the angle between the embeddings."""

    texts_at = 1

    def __init__(
        self, fingerprint: str, encoder: TextEncoder, query_prompt: str = "", text_prompt: str = ""
    ) -> None:
        self._fingerprint = fingerprint
        self._encoder = encoder
        self._query_prompt = query_prompt
        self._text_prompt = text_prompt

    def keys(self, query: str, texts: Sequence[str]) -> list[bytes]:
        return keys(self._fingerprint, "", self._inputs(query, texts))

    def encode(self, query: str, texts: Sequence[str], wanted: Sequence[int]) -> Iterator[list[Row]]:
        inputs = self._inputs(query, texts)
        return self._encoder.encode([inputs[at] for at in wanted])

    def scores(self, outputs: Sequence[Output]) -> list[float]:
        vectors = np.stack([output.values for output in outputs])
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        cosines: list[float] = (vectors[1:] @ vectors[0]).tolist()
        return cosines

    def _inputs(self, query: str, texts: Sequence[str]) -> list[str]:
        return [self._query_prompt + query, *(self._text_prompt + text for text in texts)]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that can score."""

    scorer: Scorer
    backend: Backend
    budget_tokens: int
    """Tokens of one batch that suit the device."""
    info: Mapping[str, str]
    """For people: kind, architecture, device, dtype, max_length, fingerprint …"""
