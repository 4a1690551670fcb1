"""Scorers: from query and texts to the rows that a model has to run, and from its outputs to scores.

Pure, without torch. A call has *inputs*, each with a key that names it for the cache: one per text for a
cross-encoder, the query and one per text for a bi-encoder, for late interaction (`late_interaction.py`) and
for a sparse encoder (`sparse.py`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Final, Literal, Protocol

import numpy as np
import numpy.typing as npt

from rerank_proxy.concurrency.steps import Steps
from rerank_proxy.engine.encoding.encode import PairEncoder, TextEncoder
from rerank_proxy.engine.encoding.prompts import MAX_INSTRUCTION, PromptEncoder
from rerank_proxy.engine.encoding.tokenizer import View
from rerank_proxy.engine.encoding.windows import Reduction, WindowTextEncoder, by_window, reduced
from rerank_proxy.engine.errors import NoInstructionError
from rerank_proxy.engine.rows import Output, Row

Activation = Literal["identity", "sigmoid"]
Similarity = Literal["cosine", "dot", "euclidean", "manhattan"]
"""Those of sentence-transformers; of distances the negative, so that more is more similar."""

Float32s = npt.NDArray[np.float32]

_DIGEST_BYTES: Final = 16


class Scorer(Protocol):
    """How one kind of model scores. All methods may be called from any thread."""

    texts_at: int
    """The position of the first text among the inputs."""

    @property
    def view(self) -> View | None:
        """Return how texts are tokenised; None where that cannot be told."""
        ...

    def keys(self, query: str, texts: Sequence[str]) -> list[bytes]:
        """Return a key per input. Equal keys have equal outputs."""

    def encode(self, query: str, texts: Sequence[str], positions: Sequence[int]) -> Iterator[list[Row]]:
        """Yield the rows of the inputs at these positions, in several lists, none of which takes long."""

    def scores(self, outputs: Sequence[Output]) -> list[float] | Steps[list[float]]:
        """Return one float32 per text, as Python floats in input order; in steps where it takes long."""


class CrossEncoder:
    """Scores query and text together: the raw logit, or its sigmoid.

    Args:
        reduction: How one logit is made of those of a text that is divided. The activation comes after that.
    """

    texts_at = 0

    def __init__(
        self,
        fingerprint: str,
        encoder: PairEncoder,
        prompt: str = "",
        activation: Activation | None = None,
        reduction: Reduction = "max",
    ) -> None:
        self._fingerprint = fingerprint
        self._encoder = encoder
        self._prompt = prompt
        self._activation = activation
        self._reduction = reduction

    def keys(self, query: str, texts: Sequence[str]) -> list[bytes]:
        return input_keys(self._fingerprint, self._prompt + query, texts)

    def encode(self, query: str, texts: Sequence[str], positions: Sequence[int]) -> Iterator[list[Row]]:
        return self._encoder.encode(self._prompt + query, [texts[at] for at in positions])

    @property
    def view(self) -> View | None:
        return self._encoder.view

    def instructed(self, instruction: str) -> "CrossEncoder":
        """Return the same with another instruction, on which its keys then depend.

        Raises:
            NoInstructionError: The model takes none.
        """
        if not isinstance(self._encoder, PromptEncoder):
            raise NoInstructionError("the model reads query and text without an instruction")
        told = f"{self._fingerprint} told {instruction}"
        return CrossEncoder(
            told,
            self._encoder.instructed(instruction),
            activation=self._activation,
            reduction=self._reduction,
        )

    def scores(self, outputs: Sequence[Output]) -> list[float]:
        values, counts = by_window(outputs)
        logits = reduced(values[:, 0], counts, self._reduction)
        if self._activation == "sigmoid":
            logits = np.exp(-np.logaddexp(0.0, -logits.astype(np.float64))).astype(np.float32)
        scores: list[float] = logits.tolist()
        return scores


class BiEncoder:
    """Embeds query and text apart; the score is the similarity of the embeddings.

    Args:
        encoder: For queries.
        texts: For texts, where these are encoded otherwise than queries; None: `encoder`.
        dimensions: How many of the embeddings' dimensions are compared, from the first on; None: all.
        reduction: How one similarity is made of those of a text that is divided.
    """

    texts_at = 1

    def __init__(
        self,
        fingerprint: str,
        encoder: TextEncoder,
        query_prompt: str = "",
        text_prompt: str = "",
        similarity: Similarity = "cosine",
        dimensions: int | None = None,
        texts: TextEncoder | WindowTextEncoder | None = None,
        reduction: Reduction = "max",
    ) -> None:
        self._fingerprint = fingerprint
        self._encoder = encoder
        self._query_prompt = query_prompt
        self._text_prompt = text_prompt
        self._similarity = similarity
        self._dimensions = dimensions
        self._texts = texts
        self._reduction = reduction

    def keys(self, query: str, texts: Sequence[str]) -> list[bytes]:
        inputs = self._inputs(query, texts)
        if self._texts is None:
            return input_keys(self._fingerprint, "", inputs)
        of_query = input_keys(self._fingerprint, "query", inputs[:1])
        return [*of_query, *input_keys(self._fingerprint, "text", inputs[1:])]

    def encode(self, query: str, texts: Sequence[str], positions: Sequence[int]) -> Iterator[list[Row]]:
        inputs = self._inputs(query, texts)
        if self._texts is None:
            yield from self._encoder.encode([inputs[at] for at in positions])
            return
        if 0 in positions:
            assert positions[0] == 0, "the query comes first"
            yield from self._encoder.encode(inputs[:1])
        yield from self._texts.encode([inputs[at] for at in positions if at])

    @property
    def view(self) -> View:
        return replace((self._texts or self._encoder).view, lead=self._text_prompt)

    def scores(self, outputs: Sequence[Output]) -> list[float]:
        vectors, (_, *counts) = by_window(outputs)
        vectors = vectors[:, : self._dimensions]
        similarities = _similarities(vectors[0], vectors[1:], self._similarity)
        scores: list[float] = reduced(similarities, counts, self._reduction).tolist()
        return scores

    def _inputs(self, query: str, texts: Sequence[str]) -> list[str]:
        return [self._query_prompt + query, *(self._text_prompt + text for text in texts)]


def instructed(scorer: Scorer, instruction: str) -> Scorer:
    """Return a scorer that tells the model what to do.

    Raises:
        NoInstructionError: The model takes no instruction, or not such a long one.
    """
    if len(instruction) > MAX_INSTRUCTION:
        raise NoInstructionError(f"an instruction has at most {MAX_INSTRUCTION} characters")
    if not isinstance(scorer, CrossEncoder):
        raise NoInstructionError("the model reads query and text without an instruction")
    return scorer.instructed(instruction.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))


def _similarities(query: Float32s, texts: Float32s, similarity: Similarity) -> Float32s:
    """Return the similarity of each text's embedding, a row, with the query's."""
    match similarity:
        case "cosine":
            return _unit(texts) @ _unit(query)
        case "dot":
            return texts @ query
        case "euclidean":
            distances: Float32s = np.linalg.norm(texts - query, axis=1)
            return -distances
        case "manhattan":
            distances = np.abs(texts - query).sum(axis=1)
            return -distances


def _unit(vectors: Float32s) -> Float32s:
    """Return the vectors with a length of 1; those without a length stay as they are."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: Float32s = vectors / np.maximum(lengths, np.float32(1e-12))
    return unit


def input_keys(fingerprint: str, context: str, texts: Sequence[str]) -> list[bytes]:
    """Return a key per text: 16 bytes of BLAKE2b over model fingerprint, `context` and text.

    `context` is what the output depends on besides model and text, such as a cross-encoder's query. Lengths
    come first, so that different inputs never give the same bytes. 128 bits make an accidental collision
    practically impossible.
    """
    prefix = blake2b(digest_size=_DIGEST_BYTES)
    for part in (fingerprint, context):
        encoded = part.encode()
        prefix.update(len(encoded).to_bytes(8, "big"))
        prefix.update(encoded)
    digests = []
    for text in texts:
        digest = prefix.copy()
        digest.update(text.encode())
        digests.append(digest.digest())
    return digests
