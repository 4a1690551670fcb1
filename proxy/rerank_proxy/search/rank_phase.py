"""The rank phase: the texts of a window go to an inference endpoint, scores come back."""

import asyncio
import time
from collections.abc import Sequence
from itertools import islice

from rerank_proxy.chunks import ChunkSelector, default_chunking
from rerank_proxy.chunks.lane import LANE
from rerank_proxy.chunks.settings import MAX_CHARACTERS
from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.concurrency.steps import Steps
from rerank_proxy.inference.endpoints import Endpoint, Endpoints
from rerank_proxy.inference.failures import InferenceFailedError, not_found, timed_out
from rerank_proxy.observe.outcome import Applied, Skipped
from rerank_proxy.search.failures import RankPhaseError
from rerank_proxy.search.language.retrievers import StandardRetriever, TextSimilarityReranker
from rerank_proxy.search.ranks.ranking import RankDoc, keep_order, rank
from rerank_proxy.search.run import Run
from rerank_proxy.search.upstream_endpoint import find_upstream
from rerank_proxy.upstream.privileges import GET_ENDPOINT, DeniedError, Privileges


class Scorer:
    """Reranks windows for all callers.

    Args:
        timeout_s: Seconds for the scores of one window.
        allow_failures: Whether a reranker that does not say it keeps the first-stage order when it fails.
        chunked_characters: How much of a text is looked at for chunks.
        privileges: Asked whether the caller may read the endpoint, as native asks; None: everybody may.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        timeout_s: float,
        *,
        allow_failures: bool,
        chunked_characters: int = MAX_CHARACTERS,
        privileges: Privileges | None = None,
    ) -> None:
        self._endpoints = endpoints
        self._privileges = privileges
        self._timeout_s = timeout_s
        self._allow_failures = allow_failures
        self._chunked_characters = chunked_characters

    async def rerank(
        self, run: Run, retriever: TextSimilarityReranker, window: Sequence[RankDoc]
    ) -> list[RankDoc]:
        """The window in its new order; the documents have their text.

        Raises:
            RankPhaseError: No scores, and the reranker may not do without.
        """
        deadline = run.scores_by.or_sooner(Deadline.of_setting("search.timeout_s", self._timeout_s))
        try:
            with run.timings.scoring():
                endpoint = await self._endpoint(run, retriever)
                run.windows[retriever.inference_id] = endpoint.window_words
                ranked, outcome = await self._score(endpoint, retriever, window, deadline)
        except (InferenceFailedError, DeniedError) as failure:
            allowed = retriever.allow_rerank_failures
            if not (self._allow_failures if allowed is None else allowed):
                raise RankPhaseError(failure.status, failure.cause) from failure
            run.outcomes.append(Skipped(retriever.inference_id, failure.cause.type))
            child = retriever.child
            collapsed = isinstance(child, StandardRetriever) and child.collapse is not None
            return keep_order(window, collapsed=collapsed)
        run.outcomes.append(outcome)
        return ranked

    def pass_over(self, run: Run, retriever: TextSimilarityReranker) -> None:
        """For a compound child that found nothing: its search ranks nothing, so that native does not
        look for the endpoint (``CompoundRetrieverBuilder#createSearchSourceBuilder``).
        """
        run.outcomes.append(Applied(retriever.inference_id, "none", 0, 0, 0, 0, 0.0, retriever.field))

    async def _endpoint(self, run: Run, retriever: TextSimilarityReranker) -> Endpoint:
        """Looked up even where there is nothing to score."""
        inference_id = retriever.inference_id
        if self._privileges is not None:
            await self._privileges.require(run.upstream, GET_ENDPOINT)
        endpoint = await self._endpoints.find(inference_id)
        if endpoint is None:
            endpoint = await find_upstream(run, inference_id)
        if endpoint is None:
            raise not_found(inference_id)
        endpoint.check_window(retriever.rank_window_size)
        return endpoint

    async def _score(
        self,
        endpoint: Endpoint,
        retriever: TextSimilarityReranker,
        window: Sequence[RankDoc],
        deadline: Deadline,
    ) -> tuple[list[RankDoc], Applied]:
        began = time.perf_counter()
        docs = [doc for doc in window if doc.text is not None]
        texts = [doc.text or "" for doc in docs]
        scores: Sequence[float] = []
        cached = truncated = 0
        passages: Sequence[Sequence[str]] | None = None
        if retriever.chunk_rescorer is not None:
            truncated = sum(len(text) > self._chunked_characters for text in texts)
            passages = await self._passages(endpoint, retriever, texts, deadline)
            texts = [text for each in passages for text in each]
        if texts:
            reranked = await endpoint.rerank(retriever.inference_text, texts, deadline)
            scores, cached, truncated = reranked.scores, reranked.cached, truncated + reranked.truncated
        ms = (time.perf_counter() - began) * 1000
        outcome = Applied(
            endpoint=retriever.inference_id,
            model=endpoint.model,
            window=len(window),
            scored=len(docs),
            cached=cached,
            truncated=truncated,
            ms=ms,
            field=retriever.field,
        )
        if passages is not None:
            scores = _best(scores, passages)
        return rank(docs, scores, retriever.min_score), outcome

    async def _passages(
        self, endpoint: Endpoint, retriever: TextSimilarityReranker, texts: Sequence[str], deadline: Deadline
    ) -> Sequence[Sequence[str]]:
        """The best chunks of each text."""
        assert retriever.chunk_rescorer is not None
        most = self._chunked_characters
        query, default = retriever.inference_text[:most], default_chunking(endpoint.window_words)
        selector = ChunkSelector(retriever.chunk_rescorer, query, default)
        try:
            async with asyncio.timeout_at(deadline.at):
                return await LANE.run(_select(selector, texts, most))
        except TimeoutError:
            raise timed_out(retriever.inference_id, deadline, "the texts were not cut into chunks") from None


def _select(selector: ChunkSelector, texts: Sequence[str], most: int) -> Steps[list[list[str]]]:
    selected: list[list[str]] = []
    for text in texts:
        selected.append((yield from selector.select(text[:most])))
        yield
    return selected


def _best(scores: Sequence[float], passages: Sequence[Sequence[str]]) -> Sequence[float]:
    """The score of each document: the highest of its passages; 0 where it has none."""
    remaining = iter(scores)
    return [max(islice(remaining, len(each)), default=0.0) for each in passages]
