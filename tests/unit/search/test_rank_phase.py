"""The rank phase: what is scored, until when, and what a failure leaves."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from rerank_proxy.chunks import ChunkRescorer, WordBoundaryChunkingSettings
from rerank_proxy.chunks.settings import MAX_CHARACTERS
from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.engine import (
    DeadlineExceededError,
    DeadlineUnreachableError,
    EngineClosedError,
    EngineError,
    InferenceError,
    InputTooLargeError,
    ModelFailedError,
    QueueFullError,
)
from rerank_proxy.observe.outcome import Applied, Skipped
from rerank_proxy.search.failures import RankPhaseError
from rerank_proxy.search.rank_phase import RankPhase
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.retrievers.standard import StandardRetriever
from rerank_proxy.search.retrievers.text_similarity_reranker import TextSimilarityReranker
from rerank_proxy.search.run import InnerBytes, Run
from rerank_proxy.settings import EndpointSettings
from rerank_proxy.upstream.protocol import Reply
from tests.support.endpoints import LATE, local_endpoints
from tests.support.search_app import ENDPOINT, NumberAtTheEnd
from tests.support.searches import request, reranking
from tests.unit.search.doubles import ScriptedUpstream


class Deadlines(NumberAtTheEnd):
    """An engine that records the deadlines it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.deadlines: list[float] = []

    async def scores(
        self, model: str, query: str, texts: Sequence[str], deadline: float, *, instruction: str | None = None
    ) -> Any:
        self.deadlines.append(deadline)
        return await super().scores(model, query, texts, deadline)


class Phase:
    """The rank phase of one search.

    Args:
        allow: The setting of the proxy.
        upstream: Upstream's answer.
    """

    def __init__(
        self,
        *,
        allow: bool = False,
        timeout_s: float = 30.0,
        upstream: Reply | None = None,
        chunked_characters: int = MAX_CHARACTERS,
    ) -> None:
        self.engine = Deadlines()
        endpoints = {ENDPOINT: EndpointSettings(model="numbers")}
        self.rank_phase = RankPhase(
            local_endpoints(endpoints, self.engine, timeout_s),
            timeout_s,
            allow_failures=allow,
            chunked_characters=chunked_characters,
        )
        answer = upstream or Reply(404, (), b'{"error":{"type":"resource_not_found_exception"},"status":404}')
        self.upstream = ScriptedUpstream(lambda *_: answer)
        self.run = Run(request(reranking()), self.upstream, InnerBytes(0), deadline=LATE, scores_by=LATE)

    async def rerank(self, *texts: str | None, **options: Any) -> list[tuple[str, float]]:
        values = {"inference_text": "a question", "inference_id": ENDPOINT, **options}
        retriever = TextSimilarityReranker(child=StandardRetriever(), field="text", **values)
        window = [RankDoc("films", str(place), place, text=text) for place, text in enumerate(texts)]
        ranked = await self.rank_phase.rerank(self.run, retriever, window)
        return [(doc.id, doc.score) for doc in ranked]

    @property
    def outcome(self) -> Applied | Skipped:
        (outcome,) = self.run.outcomes
        return outcome


class TestTexts:
    async def test_documents_without_text_are_not_ranked(self) -> None:
        phase = Phase()
        assert await phase.rerank("a 1", None, "b 2") == [("2", 3.0), ("0", 2.0)]
        assert phase.engine.asked == [["a 1", "b 2"]]
        outcome = phase.outcome
        assert isinstance(outcome, Applied)
        assert (outcome.window, outcome.scored, outcome.model) == (3, 2, "numbers")

    async def test_nothing_to_score_asks_no_model(self) -> None:
        phase = Phase()
        assert await phase.rerank(None) == []
        assert phase.engine.asked == []
        assert isinstance(phase.outcome, Applied)

    async def test_min_score_is_of_raw_scores(self) -> None:
        assert await Phase().rerank("a 1", "b 2", min_score=1.5) == [("1", 3.0)]


class TestChunks:
    """A text's best chunks are scored in its place, here of two words each."""

    async def rerank(
        self, phase: Phase, size: int, *texts: str, inference_text: str = "the question"
    ) -> list[tuple[str, float]]:
        rescorer = ChunkRescorer(size, WordBoundaryChunkingSettings(2, 0))
        return await phase.rerank(*texts, inference_text=inference_text, chunk_rescorer=rescorer)

    @pytest.mark.parametrize(
        ("size", "ranked"),
        [(1, [("1", 7.0), ("0", 6.0)]), (2, [("0", 8.0), ("1", 7.0)]), (9, [("0", 8.0), ("1", 7.0)])],
    )
    async def test_the_highest_of_a_documents_chunks_counts(
        self, size: int, ranked: list[tuple[str, float]]
    ) -> None:
        phase = Phase()
        assert await self.rerank(phase, size, "question 5 and 9 question 7", "question 6") == ranked
        (asked,) = phase.engine.asked
        assert [text.strip() for text in asked] == [*["question 5", "question 7"][:size], "question 6"]
        outcome = phase.outcome
        assert isinstance(outcome, Applied)
        assert (outcome.window, outcome.scored) == (2, 2)  # documents, not chunks

    async def test_a_very_long_text_is_looked_at_up_to_a_limit(self) -> None:
        phase = Phase(chunked_characters=20)
        ranked = await self.rerank(phase, 1, "question 5 and words question 9", "question 6")
        assert ranked == [("1", 7.0), ("0", 6.0)]
        outcome = phase.outcome
        assert isinstance(outcome, Applied)
        assert outcome.truncated == 1

    async def test_cutting_ends_at_the_deadline(self) -> None:
        phase = Phase(timeout_s=0.001)
        with pytest.raises(RankPhaseError) as raised:
            await self.rerank(phase, 1, *["question 5. " * 50_000] * 20)
        assert raised.value.status == 429
        assert phase.engine.asked == []

    async def test_for_a_blank_question_there_are_none(self) -> None:
        phase = Phase()
        ranked = await self.rerank(phase, 1, "a 5", "b 7", inference_text=" ")
        assert ranked == [("0", 1.0), ("1", 1.0)]
        assert phase.engine.asked == []


class TestFailures:
    @pytest.mark.parametrize(
        ("failure", "why"),
        [
            (QueueFullError("full"), "queue_full"),
            (DeadlineUnreachableError("late"), "too_late"),
            (DeadlineExceededError("late"), "deadline"),
            (ModelFailedError("gone"), "model_failed"),
            (InferenceError("nan"), "model_failed"),
            (EngineClosedError("closed"), "model_failed"),
            (InputTooLargeError("long"), "other"),
        ],
    )
    async def test_why(self, failure: EngineError, why: str) -> None:
        phase = Phase(allow=True)
        phase.engine.failure = failure
        await phase.rerank("a 1")
        assert isinstance(phase.outcome, Skipped)
        assert (phase.outcome.why, phase.outcome.model) == (why, "numbers")
        is_late = why in ("too_late", "deadline")
        assert phase.run.timings.missed == ({"search.timeout_s"} if is_late else set())

    async def test_why_an_endpoint_cannot_be_found(self) -> None:
        phase = Phase(allow=True)
        await phase.rerank("a 1", inference_id="gone")
        assert isinstance(phase.outcome, Skipped)
        assert (phase.outcome.why, phase.outcome.model) == ("not_found", None)

    @pytest.mark.parametrize(
        ("server_wide", "own", "allowed"),
        [
            (False, None, False),
            (True, None, True),
            (False, True, True),
            (True, True, True),
            (True, False, False),
            (False, False, False),
        ],
    )
    async def test_who_allows_them(self, server_wide: bool, own: bool | None, allowed: bool) -> None:
        """The retriever, and if it does not say, the settings."""
        phase = Phase(allow=server_wide)
        phase.engine.failure = QueueFullError("full")
        options = {} if own is None else {"allow_rerank_failures": own}
        if allowed:
            ranked = await phase.rerank("a 1", None, "b 9", **options)
            assert ranked == [("0", 1.0), ("1", 0.5), ("2", pytest.approx(1 / 3))]
            assert phase.outcome == Skipped(ENDPOINT, "es_rejected_execution_exception")
        else:
            with pytest.raises(RankPhaseError) as raised:
                await phase.rerank("a 1", None, "b 9", **options)
            assert raised.value.status == 429
            assert raised.value.cause.caused_by is not None
            assert raised.value.cause.caused_by.type == "es_rejected_execution_exception"
            assert phase.run.outcomes == []

    async def test_min_score_is_not_of_the_phase_then(self) -> None:
        phase = Phase(allow=True)
        phase.engine.failure = QueueFullError("full")
        kept = await phase.rerank("a 1", "b 9", "c 2", min_score=0.5)
        assert [id_ for id_, _ in kept] == ["0", "1", "2"]

    @pytest.mark.parametrize("texts", [("a 1",), (None,), ()])
    async def test_an_unknown_endpoint_whether_or_not_there_is_a_text(self, texts: Any) -> None:
        with pytest.raises(RankPhaseError) as raised:
            await Phase().rerank(*texts, inference_id="nope")
        assert raised.value.status == 404
        assert raised.value.cause.caused_by is not None
        assert raised.value.cause.caused_by.reason == "Inference endpoint not found [nope]"

    async def test_an_endpoint_that_upstream_has_for_something_else(self) -> None:
        described = {"endpoints": [{"inference_id": "a/b", "task_type": "sparse_embedding"}]}
        phase = Phase(upstream=Reply(200, (), json.dumps(described).encode()))
        with pytest.raises(RankPhaseError) as raised:
            await phase.rerank("a 1", inference_id="a/b")
        assert raised.value.status == 400
        assert raised.value.cause.caused_by is not None
        assert "task type [sparse_embedding]" in raised.value.cause.caused_by.reason
        assert [sent[:2] for sent in phase.upstream.sent] == [("GET", "/_inference/a%2Fb")]

    async def test_a_defect_is_not_a_failure_that_may_be_allowed(self) -> None:
        phase = Phase(allow=True)
        phase.engine.failure = AssertionError("a defect")
        with pytest.raises(AssertionError):
            await phase.rerank("a 1")
        assert phase.run.outcomes == []


class TestDeadline:
    async def given(self, *, scores_in: float, timeout_s: float) -> float:
        """Return the seconds that the engine was given."""
        phase = Phase(timeout_s=timeout_s)
        now = asyncio.get_running_loop().time()
        phase.run.scores_by = Deadline.of_setting("search.deadline_s", scores_in)
        await phase.rerank("a 1")
        (deadline,) = phase.engine.deadlines
        return deadline - now

    async def test_of_the_request_where_it_is_sooner(self) -> None:
        assert await self.given(scores_in=1000, timeout_s=1e6) == pytest.approx(1000, abs=60)

    async def test_of_the_settings_where_that_is(self) -> None:
        """Counted from the moment when the scores are asked for."""
        assert 1000 <= await self.given(scores_in=1e8, timeout_s=1000) < 1e6
