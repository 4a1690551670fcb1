"""What an inference endpoint is asked, and how it answers: scores in input order, or results in an order."""

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import numpy as np

from rerank_proxy.engine import Scores
from rerank_proxy.inference.failures import illegal_state

_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class RerankRequest:
    """A query and texts to rank (``RerankRequest``).

    Attributes:
        top_n: How many results are wanted; None for all.
        return_documents: Whether results carry their text; None leaves that to the service.
        task_settings: Those of the request, or those of the endpoint with the request's laid over them
            (`Service.complete`).
    """

    query: str
    texts: Sequence[str]
    top_n: int | None = None
    return_documents: bool | None = None
    task_settings: Mapping[str, Any] = field(default_factory=dict)


def of_documents(scores: Scores, chunks: Sequence[Sized], cut: Sequence[bool]) -> Scores:
    """Return the scores of documents, given those of all their chunks in order.

    A document has the score of its best chunk, and 0 without any. It was remembered if all of its chunks
    were, and cut if one was.

    Args:
        chunks: Those of each document.
        cut: Whether each document was cut before it was split into chunks.
    """
    sizes = [len(each) for each in chunks]
    values, remembered, of_chunks = map(iter, (scores.values, scores.remembered, scores.cut))
    known = [[*islice(remembered, size)] for size in sizes]
    return Scores(
        [max(islice(values, size), default=0.0) for size in sizes],
        [bool(each) and all(each) for each in known],
        [any([*islice(of_chunks, size)]) or before for size, before in zip(sizes, cut, strict=True)],
    )


def check_scores(scores: Scores, inference_id: str, texts: int) -> None:
    """Refuse scores that no caller could use.

    Raises:
        InferenceFailedError: 500; there are not as many as `texts`, or one is not a finite float32.
    """
    check_count(len(scores.values), texts)
    for score in scores.values:
        _check_score(inference_id, score)


@dataclass(slots=True)  # frozen it would take four times as long to make, and a search makes a thousand
class RankedDoc:
    """A result: the position of its text in the input, its raw relevance score, and the text if it came."""

    index: int
    relevance_score: float
    text: str | None = None


def check_results(docs: Sequence[RankedDoc], inference_id: str, texts: int) -> None:
    """Refuse results that no caller could use.

    Raises:
        InferenceFailedError: 500; an index is not that of one of the `texts` or comes twice, or a score is
            not a finite float32.
    """
    seen: set[int] = set()
    for doc in docs:
        if not 0 <= doc.index < texts or doc.index in seen:
            what = "twice" if doc.index in seen else f"for {texts} inputs"
            raise illegal_state(
                f"Inference endpoint [{inference_id}] returned a result with index [{doc.index}] {what}"
            )
        _check_score(inference_id, doc.relevance_score)
        seen.add(doc.index)


def check_count(results: int, texts: int) -> None:
    """Refuse results that do not cover all texts.

    Raises:
        InferenceFailedError: 500 (``TextSimilarityRankFeaturePhaseRankCoordinatorContext``).
    """
    if results != texts:
        raise illegal_state(
            f"Expected ranked doc size to be {texts}, got {results}. Is the reranker service "
            "using an unreported top N task setting?"
        )


def in_input_order(docs: Sequence[RankedDoc], texts: int) -> list[float]:
    """Return one score per text in input order, out of results that `check_results` has passed.

    Raises:
        InferenceFailedError: 500; there are not as many results as texts.
    """
    check_count(len(docs), texts)
    scores = [0.0] * texts
    for doc in docs:
        scores[doc.index] = doc.relevance_score
    return scores


def by_score(docs: Sequence[RankedDoc], top_n: int | None) -> list[RankedDoc]:
    """Return at most `top_n` results, the best first, equal scores in input order."""
    with np.errstate(over="ignore"):  # what is not a float32 is refused by `check_results`
        scores = np.array([doc.relevance_score for doc in docs]).astype(np.float32)
    order = np.lexsort((np.array([doc.index for doc in docs]), -scores))[:top_n]
    return [docs[at] for at in order.tolist()]


def rank_texts(request: RerankRequest, scores: Sequence[float]) -> list[RankedDoc]:
    """Return the results of a request, whose texts have these scores.

    Raises:
        InferenceFailedError: 500; there are not as many scores as texts.
    """
    check_count(len(scores), len(request.texts))
    with_text = request.return_documents is not False
    docs = [
        RankedDoc(index, score, text if with_text else None)
        for index, (score, text) in enumerate(zip(scores, request.texts, strict=True))
    ]
    return by_score(docs, request.top_n)


def _check_score(inference_id: str, score: float) -> None:
    if not abs(score) <= _FLOAT32_MAX:
        raise illegal_state(
            f"Inference endpoint [{inference_id}] returned a score that is not a finite number"
        )
