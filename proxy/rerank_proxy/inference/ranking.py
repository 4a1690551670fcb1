"""What a rerank endpoint is asked and what it answers (``RerankRequest``, ``RankedDocsResults``)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from rerank_proxy.inference.failures import illegal_state

_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class RerankInput:
    """One call of an endpoint.

    Attributes:
        top_n: How many results are wanted, when the request itself says it; absent: what `task_settings` say,
            else as many as there are texts.
        return_documents: Whether results carry their text, when the request itself says it.
        task_settings: The endpoint's, with those of the request laid over them.
    """

    query: str
    texts: Sequence[str]
    top_n: int | None = None
    return_documents: bool | None = None
    task_settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)  # frozen it would take four times as long to make, and a search makes a thousand
class RankedDoc:
    """A result: the position of its text in the input, its raw relevance score, and the text if it came."""

    index: int
    relevance_score: float
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """The results in the order in which the service gives them, the best first.

    Attributes:
        cached: Texts whose score was remembered.
        truncated: Texts that were cut to the model's limit, as far as the service says that.
    """

    docs: Sequence[RankedDoc]
    cached: int = 0
    truncated: int = 0

    def check(self, inference_id: str, texts: int) -> None:
        """Refuse what no caller could use.

        Raises:
            InferenceFailedError: 500; an index is none of the `texts` or comes twice, or a score is no finite
                float32.
        """
        seen: set[int] = set()
        for doc in self.docs:
            if not 0 <= doc.index < texts or doc.index in seen:
                what = "twice" if doc.index in seen else f"for {texts} inputs"
                raise illegal_state(
                    f"Inference endpoint [{inference_id}] returned a result with index [{doc.index}] {what}"
                )
            if not abs(doc.relevance_score) <= _FLOAT32_MAX:
                raise illegal_state(
                    f"Inference endpoint [{inference_id}] returned a score that is not a finite number"
                )
            seen.add(doc.index)

    def scores(self, texts: int) -> list[float]:
        """One score per text in input order.

        Raises:
            InferenceFailedError: 500; there are not as many results as texts
                (``TextSimilarityRankFeaturePhaseRankCoordinatorContext``).
        """
        if len(self.docs) != texts:
            raise illegal_state(
                f"Expected ranked doc size to be {texts}, got {len(self.docs)}. Is the reranker service "
                "using an unreported top N task setting?"
            )
        scores = [math.nan] * texts
        for doc in self.docs:
            scores[doc.index] = doc.relevance_score
        return scores


def sort_by_score(docs: Sequence[RankedDoc], top_n: int | None) -> list[RankedDoc]:
    """Best first, equal ones in the order in which they came; no more than `top_n`."""
    with np.errstate(over="ignore"):  # what is no float32 is refused by `Ranking.check`
        scores = np.array([doc.relevance_score for doc in docs]).astype(np.float32)
    order = np.argsort(-scores, kind="stable")[:top_n]
    return [docs[at] for at in order.tolist()]
