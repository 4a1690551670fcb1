"""Sparse encoders (SPLADE): query and text have weights for few of many terms, and are compared by these.

The weights of a text are an array of shape (terms, 2): each a term, which a float32 holds exactly, and its
weight. A term that is not there has none. No term is there twice with a weight.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rerank_proxy.concurrency.steps import Steps, run_at_once
from rerank_proxy.engine.encoding.encode import Template, TextEncoder
from rerank_proxy.engine.encoding.scorers import BiEncoder, Float32s, Similarity
from rerank_proxy.engine.encoding.tokenizer import PlainTokenizer, View
from rerank_proxy.engine.encoding.truncate import Truncation
from rerank_proxy.engine.encoding.windows import Reduction, reduced
from rerank_proxy.engine.rows import STATIC, UNSCORED, Output, Row

_TERMS_OF_A_STEP: Final = 200_000
"""Terms of the texts of one step: one or two milliseconds. Fewer in all are not worth a change of threads."""

_SHORTEST: Final = 1e-12
"""A length by which is divided is at least this, as in sentence-transformers."""


class StaticQueries:
    """Encodes queries as the set of their tokens, each of which has a weight that is always the same.

    Source: `SparseStaticEmbedding` of sentence-transformers.

    Args:
        lead: Put before each query.
    """

    def __init__(
        self, tokenizer: PlainTokenizer, max_length: int, truncation: Truncation, lead: str = ""
    ) -> None:
        none = np.empty(0, np.int32)
        bare = Template(none, none, none, (0, 0, 0, 0, 0))
        self._texts = TextEncoder(tokenizer, bare, max_length, truncation, "query")
        self._lead = lead

    def encode(self, query: str) -> Iterator[list[Row]]:
        """Yield one row, in one of several lists."""
        for piece in self._texts.encode([self._lead + query]):
            yield [_as_set(row) for row in piece]


def _as_set(row: Row) -> Row:
    """Return the row of a query's tokens: of none, one that does not count, as no row is empty."""
    ids, mark = np.unique(row.ids), STATIC
    if not len(ids):
        ids, mark = np.zeros(1, np.int32), STATIC | UNSCORED
    return Row(ids, np.zeros(len(ids), np.uint8), row.truncated, np.full(len(ids), mark, np.uint8))


class SparseEncoder:
    """Encodes query and text apart, as a bi-encoder does; the score is the similarity of their weights.

    Args:
        inputs: Encodes both. Its own scores are not used.
        reduction: How one similarity is made of those of a text that is divided.
        queries: Encodes queries, in place of `inputs`, which has to know them apart from texts.
    """

    texts_at = 1

    def __init__(
        self,
        inputs: BiEncoder,
        similarity: Similarity,
        reduction: Reduction = "max",
        queries: StaticQueries | None = None,
    ) -> None:
        self._inputs = inputs
        self._similarity = similarity
        self._reduction = reduction
        self._queries = queries

    @property
    def view(self) -> View:
        return self._inputs.view

    def keys(self, query: str, texts: Sequence[str]) -> list[bytes]:
        return self._inputs.keys(query, texts)

    def encode(self, query: str, texts: Sequence[str], positions: Sequence[int]) -> Iterator[list[Row]]:
        if self._queries is not None and 0 in positions:
            yield from self._queries.encode(query)
            positions = [at for at in positions if at]
        yield from self._inputs.encode(query, texts, positions)

    def scores(self, outputs: Sequence[Output]) -> list[float] | Steps[list[float]]:
        query, *texts = (output.values for output in outputs)
        steps = self._scored(QueryWeights(query), texts)
        return steps if sum(text.size for text in texts) // 2 > _TERMS_OF_A_STEP else run_at_once(steps)

    def _scored(self, query: "QueryWeights", texts: Sequence[Float32s]) -> Steps[list[float]]:
        """Score text by text, so that a text's score does not depend on the others."""
        scores: list[float] = []
        terms = 0
        for text in texts:
            terms += text.size // 2
            if terms > _TERMS_OF_A_STEP:
                terms = text.size // 2
                yield
            windows = text if text.ndim > 2 else text[None]  # a text's own dimensions
            similarities = [query.similarity(window, self._similarity) for window in windows]
            counts = [len(similarities)]
            scores += reduced(np.array(similarities, np.float32), counts, self._reduction).tolist()
        return scores


class QueryWeights:
    """The weights of a query, with which texts are compared.

    Args:
        weights: Shape (terms, 2).
    """

    def __init__(self, weights: Float32s) -> None:
        terms = weights[:, 0].astype(np.int64)
        # By term; the last place, which is none of the query's, stands for all terms behind it.
        self._by_term = np.zeros(int(terms.max(initial=-1)) + 2)
        self._by_term[terms] = weights[:, 1]
        self._squares = float(self._by_term @ self._by_term)
        self._sum = float(np.abs(self._by_term).sum())

    def similarity(self, weights: Float32s, similarity: Similarity) -> float:
        """Return the similarity with a text of such weights. Its sums are made in float64."""
        theirs = weights[:, 1].astype(np.float64)
        own = self._by_term[np.minimum(weights[:, 0].astype(np.int64), len(self._by_term) - 1)]
        match similarity:
            case "dot":
                return float(own @ theirs)
            case "cosine":
                lengths = max(np.sqrt(self._squares), _SHORTEST) * max(np.linalg.norm(theirs), _SHORTEST)
                return float(own @ theirs / lengths)
            case "euclidean":
                return -float(np.sqrt(max(0.0, self._squares + _sum((own - theirs) ** 2 - own**2))))
            case "manhattan":
                return -(self._sum + _sum(np.abs(own - theirs) - np.abs(own)))


def _sum(values: NDArray[np.float64]) -> float:
    return float(values.sum())
