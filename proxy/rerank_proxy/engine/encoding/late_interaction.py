"""Late interaction (ColBERT): a vector for each token of query and text; the best match of each query token.

The score is MaxSim: the largest dot product of each vector of the query with one of the text, summed up.
Source: Khattab and Zaharia, "ColBERT: Efficient and Effective Passage Search via Contextualized Late
Interaction over BERT" (2020), section 3; `maxsim` of sentence-transformers 6.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rerank_proxy.concurrency.steps import Steps
from rerank_proxy.engine.encoding.encode import TextEncoder
from rerank_proxy.engine.encoding.scorers import Float32s, input_keys
from rerank_proxy.engine.encoding.tokenizer import View
from rerank_proxy.engine.rows import UNSCORED, UNSEEN, Output, Row

_PRODUCTS_OF_A_STEP: Final = 20_000_000
"""Multiplications of one step: one or two milliseconds. Fewer in all are not worth a change of threads."""

_PRODUCTS_OF_A_BLOCK: Final = 131_072
"""Multiplications of one matrix product: so few that OpenBLAS does not spread them over threads.

It does so from 262,144 on (`GEMM_MULTITHREAD_THRESHOLD`), and where the cores are busy, as they are with the
model, its threads then spin for many times as long as the work takes.
"""

_WITHOUT_VECTORS: Final = -1e9
"""The score of a text that has no vectors: below every other, as in sentence-transformers."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """How short queries are filled up, so that the model adds terms of its own (query augmentation)."""

    token_id: int
    length: int
    """Tokens of a query that is filled up."""
    attended: bool
    """The query's own tokens attend to those that were added. If not, these have vectors all the same."""


class TokenEncoder:
    """Encodes queries, or texts, with the marks that say which tokens count.

    Args:
        texts: Cuts to what leaves room for `marker_id`.
        lead: Put before each text.
        strips: White space around a text is removed.
        marker_id: Inserted behind the first token, as PyLate and ColBERT do; None for no such token.
        skipped_ids: Tokens without a vector.
    """

    def __init__(
        self,
        texts: TextEncoder,
        lead: str = "",
        *,
        strips: bool = False,
        marker_id: int | None = None,
        skipped_ids: Sequence[int] = (),
        expansion: Expansion | None = None,
    ) -> None:
        self._texts = texts
        self._lead = lead
        self._strips = strips
        self._marker_id = marker_id
        self._skipped = np.array(sorted(skipped_ids), np.int32)
        self._expansion = expansion

    @property
    def view(self) -> View:
        """Return how texts are tokenised."""
        return replace(self._texts.view, lead=self._lead, strips=self._strips)

    def encode(self, texts: Sequence[str]) -> Iterator[list[Row]]:
        """Yield one row per text, as `PairEncoder.encode` does."""
        for piece in self._texts.encode([self._whole(text) for text in texts]):
            yield [self._marked(row) for row in piece]

    def _whole(self, text: str) -> str:
        whole = self._lead + text
        return whole.strip() if self._strips else whole

    def _marked(self, row: Row) -> Row:
        ids, type_ids = row.ids, row.type_ids
        if self._marker_id is not None:
            behind_first = min(1, len(ids))
            ids = np.insert(ids, behind_first, self._marker_id)
            type_ids = np.insert(type_ids, behind_first, 0)
        own, added = len(ids), 0
        if self._expansion is not None:
            added = max(0, self._expansion.length - own)
            ids = np.concatenate([ids, np.full(added, self._expansion.token_id, np.int32)])
            type_ids = np.concatenate([type_ids, np.zeros(added, np.uint8)])
        marks = np.where(np.isin(ids, self._skipped), UNSCORED, 0).astype(np.uint8)
        if self._expansion is not None and not self._expansion.attended:
            marks[own:] |= UNSEEN
        return Row(ids, type_ids, row.truncated, marks)


class LateInteraction:
    """Scores by the vectors of all tokens. Those of a text do not depend on the query.

    Args:
        averages: Divide by the number of the query's vectors (`meanmaxsim`).
    """

    texts_at = 1

    def __init__(
        self, fingerprint: str, queries: TokenEncoder, texts: TokenEncoder, *, averages: bool = False
    ) -> None:
        self._fingerprint = fingerprint
        self._queries = queries
        self._texts = texts
        self._averages = averages

    @property
    def view(self) -> View:
        return self._texts.view

    def keys(self, query: str, texts: Sequence[str]) -> list[bytes]:
        return [
            *input_keys(self._fingerprint, "query", [query]),
            *input_keys(self._fingerprint, "text", texts),
        ]

    def encode(self, query: str, texts: Sequence[str], positions: Sequence[int]) -> Iterator[list[Row]]:
        if 0 in positions:
            assert positions[0] == 0, "the query comes first"
            yield from self._queries.encode([query])
        yield from self._texts.encode([texts[at - 1] for at in positions if at])

    def scores(self, outputs: Sequence[Output]) -> list[float] | Steps[list[float]]:
        query, *texts = (output.values for output in outputs)
        steps = self._scores(query, texts)
        if sum(text.size for text in texts) * len(query) > _PRODUCTS_OF_A_STEP:
            return steps
        try:
            while True:
                next(steps)
        except StopIteration as end:
            scores: list[float] = end.value
            return scores

    def _scores(self, query: Float32s, texts: Sequence[Float32s]) -> Steps[list[float]]:
        """Score text by text, so that a text's score does not depend on the others."""
        scores = []
        products = 0
        for text in texts:
            products += text.size * len(query)
            if products > _PRODUCTS_OF_A_STEP:
                products = text.size * len(query)
                yield
            scores.append(max_sim(query, text, averages=self._averages))
        return scores


def max_sim(query: NDArray[np.float32], text: NDArray[np.float32], *, averages: bool = False) -> float:
    """Return the sum, or the average, over the query's vectors of the largest dot product with the text's.

    Args:
        query: Shape (vectors, dimensions).
        text: Shape (other vectors, dimensions).

    Returns:
        A float32.
    """
    size = max(1, _PRODUCTS_OF_A_BLOCK // max(1, query.size))
    blocks = [(text[start : start + size] @ query.T).max(axis=0) for start in range(0, len(text), size)]
    best = np.maximum.reduce(blocks).sum() if blocks else np.float32(_WITHOUT_VECTORS)
    return float(best / np.float32(max(1, len(query))) if averages else best)
