"""Endpoint ids and the engine's failures, in Elasticsearch's words."""

import asyncio
import math
from collections.abc import Sequence
from typing import cast

import pytest

from proxy.engine import (
    DeadlineExceededError,
    Engine,
    EngineError,
    ModelFailedError,
    QueueFullError,
    Reranked,
)
from proxy.inference.endpoints import (
    Endpoint,
    Endpoints,
    InferenceFailedError,
    not_found,
    wrong_task_type,
)
from proxy.settings import EndpointSettings


class OneAnswer:
    """The engine's one method that endpoints use, with an answer of the test's choice."""

    def __init__(self, answer: Reranked | Exception) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, Sequence[str], float]] = []

    async def rerank(self, model: str, query: str, texts: Sequence[str], deadline: float) -> Reranked:
        self.asked.append((model, query, texts, deadline))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def endpoints(engine: OneAnswer, top_n: int | None = None) -> Endpoints:
    return Endpoints({"mine": EndpointSettings(model="minilm", top_n=top_n)}, cast("Engine", engine), 30.0)


def mine(answer: OneAnswer, top_n: int | None = None) -> Endpoint:
    endpoint = endpoints(answer, top_n).get("mine")
    assert endpoint is not None
    return endpoint


async def failure(answer: Reranked | Exception) -> InferenceFailedError:
    with pytest.raises(InferenceFailedError) as raised:
        await mine(OneAnswer(answer)).rerank("q", ["a", "b"], 1e9)
    return raised.value


async def test_the_model_of_an_endpoint_is_asked() -> None:
    engine = OneAnswer(Reranked([1.0, -2.0], 1, 0))
    endpoint = mine(engine)
    deadline = asyncio.get_running_loop().time() + 30
    assert (await endpoint.rerank("q", ["a", "b"], deadline)).scores == [1.0, -2.0]
    assert (endpoint.inference_id, endpoint.model) == ("mine", "minilm")
    assert engine.asked == [("minilm", "q", ["a", "b"], deadline)]


def test_an_unknown_endpoint() -> None:
    assert endpoints(OneAnswer(Reranked([], 0, 0))).get("other") is None
    failure = not_found("other")
    assert failure.status == 404
    assert failure.cause.type == "resource_not_found_exception"
    assert failure.cause.reason == "Inference endpoint not found [other]"


def test_an_endpoint_of_another_kind() -> None:
    failure = wrong_task_type("sparse_embedding")
    assert (failure.status, failure.cause.type) == (400, "status_exception")
    assert failure.cause.reason == (
        "Requested task type [rerank] does not match the inference endpoint's task type [sparse_embedding]"
    )


@pytest.mark.parametrize(("top_n", "window"), [(None, 10_000), (10, 10), (10, 1)])
def test_a_window_that_an_endpoint_takes(top_n: int | None, window: int) -> None:
    mine(OneAnswer(Reranked([], 0, 0)), top_n).check_window(window)


def test_a_window_larger_than_what_an_endpoint_gives() -> None:
    with pytest.raises(InferenceFailedError) as raised:
        mine(OneAnswer(Reranked([], 0, 0)), top_n=10).check_window(11)
    assert (raised.value.status, raised.value.cause.type) == (400, "illegal_argument_exception")
    assert raised.value.cause.reason == (
        "Inference endpoint [mine] is configured to return the top [10] results, but rank_window_size is "
        "[11]. Reduce rank_window_size to be less than or equal to the configured top N value."
    )


@pytest.mark.parametrize(
    ("raised", "status", "type_", "reason"),
    [
        (
            DeadlineExceededError("late"),
            429,
            "status_exception",
            "Request timed out after [30s] for inference id [mine]",
        ),
        (QueueFullError("the queue is full"), 429, "es_rejected_execution_exception", "the queue is full"),
        (
            ModelFailedError("no such directory"),
            500,
            "status_exception",
            "Model [minilm] of inference endpoint [mine] could not be loaded: no such directory",
        ),
        (
            EngineError("device lost"),
            500,
            "status_exception",
            "Inference with model [minilm] failed: device lost",
        ),
    ],
)
async def test_failures_of_the_engine(raised: Exception, status: int, type_: str, reason: str) -> None:
    cause = (found := await failure(raised)).cause
    assert (found.status, cause.type, cause.reason) == (status, type_, reason)
    # what exactly happened, such as a model that still loads, is told as well
    innermost = cause if cause.caused_by is None else cause.caused_by
    assert str(raised) in innermost.reason


@pytest.mark.parametrize("scores", [[], [1.0], [1.0, 2.0, 3.0]])
async def test_a_wrong_number_of_scores(scores: list[float]) -> None:
    found = await failure(Reranked(scores, 0, 0))
    assert found.status == 500
    assert found.cause.type == "illegal_state_exception"
    assert found.cause.reason.startswith(f"Expected ranked doc size to be 2, got {len(scores)}.")


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, 1e39])
async def test_a_score_that_is_no_finite_float(score: float) -> None:
    found = await failure(Reranked([1.0, score], 0, 0))
    assert found.status == 500
    assert found.cause.reason == "Inference endpoint [mine] returned a score that is not a finite number"
