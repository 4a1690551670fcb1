"""The rank phase: an inference endpoint scores the texts of a window, which are ranked by that."""

import asyncio
import logging
import time
from collections.abc import Sequence

from rerank_proxy.chunks import LANE, ChunkSelector, default_chunking
from rerank_proxy.chunks.chunkers import Chunks
from rerank_proxy.chunks.chunkers import Span as ChunkSpan
from rerank_proxy.chunks.settings import MAX_CHARACTERS
from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.concurrency.steps import Steps
from rerank_proxy.engine import Scores
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.inference.endpoints import Endpoint, Endpoints
from rerank_proxy.inference.failures import InferenceFailedError, not_found, timed_out, why
from rerank_proxy.inference.ranking import of_documents
from rerank_proxy.observe import stages
from rerank_proxy.observe.outcome import NOT_LOOKED_UP, Applied, Skipped
from rerank_proxy.observe.stages import Span
from rerank_proxy.search.failures import RankPhaseError
from rerank_proxy.search.ranks.ranking import RankDoc, keep_order, rank, reaching
from rerank_proxy.search.recording import RecordedReranker
from rerank_proxy.search.retrievers.ports import Reranking
from rerank_proxy.search.run import Run
from rerank_proxy.search.unlicensed_endpoints import UnlicensedEndpoints
from rerank_proxy.search.upstream_endpoint import find_upstream
from rerank_proxy.settings import SearchSettings
from rerank_proxy.upstream.privileges import GET_ENDPOINT, DeniedError, Privileges
from rerank_proxy.upstream.protocol import UpstreamRefusedError

logger = logging.getLogger(__name__)


class RankPhase:
    """Reranks the windows of all searches.

    Args:
        timeout_s: Seconds for the scores of one window.
        allow_failures: What holds for a reranker without `allow_rerank_failures`: whether the window keeps
            its first-stage order when scoring fails.
        chunked_characters: How many characters of a text are split into chunks.
        show_counts: Whether clients are told how many texts were scored, how many scores were in the cache,
            and how long it took.
        privileges: Asked whether the caller may read the endpoint, as native asks; None: not checked.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        timeout_s: float,
        *,
        allow_failures: bool,
        chunked_characters: int = MAX_CHARACTERS,
        show_counts: bool = True,
        privileges: Privileges | None = None,
    ) -> None:
        self._endpoints = endpoints
        self._privileges = privileges
        self._timeout_s = timeout_s
        self._allow_failures = allow_failures
        self._chunked_characters = chunked_characters
        self._show_counts = show_counts
        self._unlicensed = UnlicensedEndpoints()

    def use(self, search: SearchSettings) -> None:
        """Use another setting for failures, for windows that are reranked from now on."""
        self._allow_failures = search.allow_rerank_failures

    async def rerank(self, run: Run, retriever: Reranking, window: Sequence[RankDoc]) -> list[RankDoc]:
        """Return the window, whose documents have their text, in its new order.

        Raises:
            RankPhaseError: There are no scores, and the reranker must have them.
        """
        recorded = None if run.recorded is None else run.recorded.reranker(retriever, window)
        if recorded is None:
            return await self._reranked(run, retriever, window, None)
        with stages.recorded_by(recorded):
            return await self._reranked(run, retriever, window, recorded)

    async def _reranked(
        self, run: Run, retriever: Reranking, window: Sequence[RankDoc], recorded: RecordedReranker | None
    ) -> list[RankDoc]:
        deadline = run.scores_by.or_sooner(Deadline.of_setting("search.timeout_s", self._timeout_s))
        with stages.stage(None, "rerank") as block:
            model: str | None = None
            try:
                endpoint = await self._endpoint(run, retriever)
                model = endpoint.model
                run.windows[retriever.inference_id] = endpoint.window_words
                if recorded is not None:
                    recorded.found(endpoint.model, endpoint.config.service)
                ranked, outcome = await self._ranked(run, endpoint, retriever, window, deadline)
            except (InferenceFailedError, DeniedError) as failure:
                reason = why(failure) if isinstance(failure, InferenceFailedError) else "denied"
                allowed = self._allows_failures(retriever)
                _describe_failure(block.span, retriever.inference_id, model, reason, allowed=allowed)
                self._unlicensed.log(retriever.inference_id, failure.cause)
                kept = keep_order(window, collapsed=retriever.child_collapses) if allowed else None
                if recorded is not None:
                    recorded.failed(f"{failure.cause.type}: {failure.cause.reason}", kept)
                if kept is None:
                    raise RankPhaseError(failure) from failure
                run.outcomes.append(Skipped(retriever.inference_id, failure.cause.type, model, reason))
                return kept
            _describe(block.span, outcome)
            run.outcomes.append(outcome)
            if recorded is not None:
                recorded.applied(outcome, reaching(ranked, retriever.min_score))
            return ranked

    def _allows_failures(self, retriever: Reranking) -> bool:
        own = retriever.allow_rerank_failures
        return self._allow_failures if own is None else own

    def pass_over(self, run: Run, retriever: Reranking) -> None:
        """Record a reranker whose compound child found nothing. Its search ranks nothing, so that native does
        not look up the endpoint (``CompoundRetrieverBuilder#createSearchSourceBuilder``).
        """
        nothing = Applied(
            retriever.inference_id, NOT_LOOKED_UP, 0, 0, 0, 0, 0.0, retriever.field, self._show_counts
        )
        run.outcomes.append(nothing)
        if run.recorded is not None:
            run.recorded.passed_over(retriever, nothing)

    async def _endpoint(self, run: Run, retriever: Reranking) -> Endpoint:
        """Return the endpoint, which is looked up even where there is nothing to score."""
        inference_id = retriever.inference_id
        with stages.stage("upstream", label="find the endpoint"):
            if self._privileges is not None:
                await self._privileges.require(run.upstream, GET_ENDPOINT)
            endpoint = await self._endpoints.find(inference_id)
        endpoint = await _or_upstreams(endpoint, run, inference_id)
        endpoint.check_window(retriever.rank_window_size)
        return endpoint

    async def _ranked(
        self,
        run: Run,
        endpoint: Endpoint,
        retriever: Reranking,
        window: Sequence[RankDoc],
        deadline: Deadline,
    ) -> tuple[list[RankDoc], Applied]:
        """Rank a window, and have the trial of the search, if there is one, take part in its order."""
        trial = run.trial
        if trial is None:
            return await self._rank(endpoint, retriever, window, deadline)
        if trial.mode != "interleaved" or trial.against is None:
            own, outcome = await self._rank(endpoint, retriever, window, deadline)
            return [*trial.ranked(window, own)], outcome
        other = asyncio.create_task(self._order_of(trial.against, run, retriever, window, deadline))
        try:
            own, outcome = await self._rank(endpoint, retriever, window, deadline)
            return [*trial.ranked(window, own, await other)], outcome
        finally:
            other.cancel()

    async def _order_of(
        self,
        inference_id: str,
        run: Run,
        retriever: Reranking,
        window: Sequence[RankDoc],
        deadline: Deadline,
    ) -> list[RankDoc] | None:
        """Return the window in the order of an endpoint that the caller did not name; None if it fails."""
        try:
            known = await self._endpoints.find(inference_id)
            endpoint = await _or_upstreams(known, run, inference_id)
            endpoint.check_window(retriever.rank_window_size)
            ranked, _ = await self._rank(endpoint, retriever, window, deadline)
        except (ElasticsearchError, UpstreamRefusedError):
            return None
        except Exception:
            # A defect of what the caller did not ask for, a plug-in's say, must not fail its search.
            logger.exception("a search was not interleaved for an internal error of [%s]", inference_id)
            return None
        return ranked

    async def _rank(
        self,
        endpoint: Endpoint,
        retriever: Reranking,
        window: Sequence[RankDoc],
        deadline: Deadline,
    ) -> tuple[list[RankDoc], Applied]:
        began = time.perf_counter()
        docs = [doc for doc in window if doc.text is not None]
        scores = await self._scores(endpoint, retriever, [doc.text or "" for doc in docs], deadline)
        outcome = Applied(
            endpoint=retriever.inference_id,
            model=endpoint.model,
            window=len(window),
            scored=len(docs),
            cached=scores.cached,
            truncated=scores.truncated,
            ms=(time.perf_counter() - began) * 1000,
            field=retriever.field,
            counted=self._show_counts,
            rank_window_size=retriever.rank_window_size,
        )
        return rank(docs, scores.values, retriever.min_score), outcome

    async def _scores(
        self, endpoint: Endpoint, retriever: Reranking, texts: Sequence[str], deadline: Deadline
    ) -> Scores:
        """Return a score for each text: its own, or that of its best chunk."""
        query = retriever.inference_text
        if retriever.chunk_rescorer is None:
            return await endpoint.scores(query, texts, deadline)
        spans, chunks = await self._chunks(endpoint, retriever, texts, deadline)
        scores = await endpoint.scores(query, chunks, deadline)
        if (recorder := stages.recorder()) is not None:
            recorder.chunked(spans, scores.values)
        cut = [len(text) > self._chunked_characters for text in texts]
        return of_documents(scores, spans, cut)

    async def _chunks(
        self, endpoint: Endpoint, retriever: Reranking, texts: Sequence[str], deadline: Deadline
    ) -> Chunks:
        """Return the best chunks of each text."""
        assert retriever.chunk_rescorer is not None
        most = self._chunked_characters
        query, default = retriever.inference_text[:most], default_chunking(endpoint.window_words)
        selector = ChunkSelector(retriever.chunk_rescorer, query, default)
        try:
            with stages.stage("tokenise", "chunk"):
                async with asyncio.timeout_at(deadline.at):
                    return await LANE.run(_select(selector, texts, most))
        except TimeoutError:
            raise timed_out(retriever.inference_id, deadline, "the texts were not cut into chunks") from None


async def _or_upstreams(endpoint: Endpoint | None, run: Run, inference_id: str) -> Endpoint:
    """Return an endpoint, or where there is none here the one that upstream has.

    Raises:
        InferenceFailedError: 404, there is none anywhere.
    """
    found = await find_upstream(run, inference_id) if endpoint is None else endpoint
    if found is None:
        raise not_found(inference_id)
    return found


def _describe(span: Span | None, outcome: Applied) -> None:
    if span is not None:
        span.set(
            {
                "rerank_proxy.endpoint": outcome.endpoint,
                "rerank_proxy.model": outcome.model,
                "rerank_proxy.window": outcome.window,
                "rerank_proxy.scored": outcome.scored,
                "rerank_proxy.cached": outcome.cached,
                "rerank_proxy.truncated": outcome.truncated,
            }
        )


def _describe_failure(
    span: Span | None, endpoint: str, model: str | None, why: str, *, allowed: bool
) -> None:
    """Mark the span of a rank phase without scores; where that is allowed, the order is the first stage's."""
    if span is None:
        return
    span.set({"rerank_proxy.endpoint": endpoint, **({} if model is None else {"rerank_proxy.model": model})})
    span.fail(why)
    if allowed:
        span.event("first-stage order kept", {"rerank_proxy.reason": why})


def _select(selector: ChunkSelector, texts: Sequence[str], most: int) -> Steps[Chunks]:
    spans: list[Sequence[ChunkSpan]] = []
    chunks: list[str] = []
    for text in texts:
        spans.append((yield from selector.select(text[:most])))
        chunks += [text[start:end] for start, end in spans[-1]]
        yield
    return Chunks(spans, chunks)
