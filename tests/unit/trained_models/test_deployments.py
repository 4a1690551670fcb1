"""Start, change, stop and restore deployments, and infer with them."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from rerank_proxy.engine import (
    DeadlineExceededError,
    EngineError,
    InferenceError,
    ModelFailedError,
    ModelStatus,
    QueueFullError,
    UnknownModelError,
)
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.trained_models import answers
from rerank_proxy.trained_models.deployment import Deployment
from rerank_proxy.trained_models.requests.deployments import parse_start, parse_stop, parse_update
from rerank_proxy.trained_models.requests.infer import Inferred, parse_infer
from rerank_proxy.trained_models.service import TrainedModels
from rerank_proxy.xcontent.params import parse_params
from tests.support.trained_models import NotingEngine, config_of, models_in, upload


@pytest.fixture
def engine() -> NotingEngine:
    return NotingEngine()


@pytest.fixture
async def models(tmp_path: Path, engine: NotingEngine) -> AsyncIterator[TrainedModels]:
    trained = models_in(tmp_path, engine)
    await trained.start()
    await upload(trained, "mine")
    yield trained
    await trained.close()


async def start(models: TrainedModels, query: str = "", model_id: str = "mine") -> Deployment:
    return await models.serving.start(parse_start(model_id, parse_params(query), b""))


async def stop(models: TrainedModels, deployment_id: str, query: str = "") -> None:
    await models.serving.stop(parse_stop(deployment_id, parse_params(query), b""))


async def infer(models: TrainedModels, name: str, *texts: str) -> list[Inferred]:
    body = {
        "docs": [{"text_field": text} for text in texts],
        "inference_config": {"text_similarity": {"text": "query"}},
    }
    _, results = await models.serving.infer(name, parse_infer(parse_params(""), json.dumps(body).encode()))
    return results


async def refused(work: Any) -> tuple[int, str, str]:
    with pytest.raises(ElasticsearchError) as failure:
        await work
    return failure.value.status, failure.value.cause.type, str(failure.value)


async def test_what_a_deployment_wants_is_told_to_the_engine(
    models: TrainedModels, engine: NotingEngine
) -> None:
    deployment = await start(models, "number_of_allocations=2&threads_per_allocation=4")
    assert engine.reservations == {"deployment:mine": ("mine", 8, True)}
    assert [*models.serving.values()] == [deployment]
    request = parse_update("mine", parse_params(""), b'{"number_of_allocations":3}')
    assert (await models.serving.update("mine", request)).number_of_allocations == 3
    assert engine.reservations == {"deployment:mine": ("mine", 12, True)}
    await stop(models, "mine")
    assert engine.reservations == {}
    assert not models.serving


async def test_the_answer_to_a_start(models: TrainedModels) -> None:
    deployment = await start(models)
    config = models.catalogue.get("mine")
    (assignment,) = answers.assignment(deployment, config, models.serving).values()
    assert assignment["task_parameters"] == {
        "model_id": "mine",
        "deployment_id": "mine",
        "model_bytes": 7,
        "threads_per_allocation": 1,
        "number_of_allocations": 1,
        "queue_capacity": 10_000,
        "cache_size": "7b",
        "priority": "normal",
        "per_deployment_memory_bytes": 11,
        "per_allocation_memory_bytes": 7,
    }
    assert assignment["routing_table"] == {
        "rerank-proxy": {"current_allocations": 1, "target_allocations": 1, "routing_state": "started"}
    }
    assert assignment["assignment_state"] == "started"
    assert assignment["max_assigned_allocations"] == 1
    assert assignment["adaptive_allocations"] is None


async def test_statistics(models: TrainedModels) -> None:
    config = models.catalogue.get("mine")
    (before,) = answers.stats_documents(config, models.serving, 5)
    assert before == {
        "model_id": "mine",
        "model_size_stats": {
            "model_size_bytes": 7,
            "required_native_memory_bytes": 240 * 1024 * 1024 + 7 + 11 + 7,
        },
        "pipeline_count": 0,
    }
    await start(models, "deployment_id=a")
    await start(models, "deployment_id=b&cache_size=1536kb")
    await infer(models, "b", "x", "y")
    first, second = answers.stats_documents(config, models.serving, 5)
    assert first["deployment_stats"]["deployment_id"] == "a"
    assert second["inference_stats"]["inference_count"] == 2
    stats = second["deployment_stats"]
    assert (stats["state"], stats["cache_size"], stats["inference_count"]) == ("started", "1.5mb", 2)
    assert stats["allocation_status"] == {
        "allocation_count": 1,
        "target_allocation_count": 1,
        "state": "fully_allocated",
    }
    assert stats["nodes"][0]["routing_state"] == {"routing_state": "started"}


async def test_a_deployment_that_fails_or_loads(models: TrainedModels, engine: NotingEngine) -> None:
    config, deployment = models.catalogue.get("mine"), await start(models, "wait_for=starting")
    states: Sequence[tuple[Literal["loading", "failed"], str]]
    states = (("loading", "starting"), ("failed", "failed"))
    for state, shown in states:
        engine.states["mine"] = ModelStatus(state, "why", preload=False)
        (stats,) = answers.stats_documents(config, models.serving, 5)
        assert stats["deployment_stats"]["state"] == shown
        assert stats["deployment_stats"]["allocation_status"]["allocation_count"] == 0
        (assignment,) = answers.assignment(deployment, config, models.serving).values()
        assert assignment["assignment_state"] == shown
    assert stats["deployment_stats"]["reason"] == "why"
    request = parse_update("mine", parse_params(""), b'{"number_of_allocations":3}')
    assert await refused(models.serving.update("mine", request)) == (
        409,
        "status_exception",
        "cannot update deployment that is not in [started] state",
    )


async def test_not_ready_in_time(models: TrainedModels, engine: NotingEngine) -> None:
    engine.failure = DeadlineExceededError("late")
    assert await refused(start(models, "timeout=2s")) == (
        408,
        "model_deployment_timeout_exception",
        "Timed out after [2s] waiting for trained model deployment [mine] to start. Use the trained model "
        "stats API to track the state of the deployment and try again once it has started.",
    )
    assert "mine" in models.serving  # it goes on loading


async def test_one_that_cannot_be_loaded_is_not_kept(models: TrainedModels, engine: NotingEngine) -> None:
    engine.failure = ModelFailedError("bad program")
    assert await refused(start(models)) == (
        500,
        "status_exception",
        "Could not start trained model deployment, the following nodes failed with errors "
        "[{rerank-proxy=bad program}]",
    )
    assert not models.serving
    assert engine.reservations == {}
    engine.failure = UnknownModelError("deleted meanwhile")
    assert (await refused(start(models)))[0] == 404


@pytest.mark.parametrize("kind", [ModelFailedError, InferenceError, EngineError])
async def test_failures_name_files_and_do_not_place_them(
    models: TrainedModels, engine: NotingEngine, kind: type[EngineError]
) -> None:
    failure = kind("[/srv/secret/mine.pt] cannot be read; see '/srv/secret/log'")
    engine.failure = failure
    starting = await refused(start(models))
    engine.failure = None
    await start(models)
    engine.failure = failure
    for _, _, told in (starting, await refused(infer(models, "mine", "a"))):
        assert "[mine.pt]" in told
        assert "secret" not in told


async def test_what_cannot_be_started(models: TrainedModels) -> None:
    await start(models)
    assert (await refused(start(models)))[2] == (
        "Could not start model deployment because an existing deployment with the same id [mine] exist"
    )
    assert (await refused(start(models, model_id="other")))[:1] == (404,)
    await models.catalogue.create(config_of("half"))
    assert (await refused(start(models, model_id="half")))[0] == 404
    assert "is the same as an another model" in (await refused(start(models, "deployment_id=half")))[2]


async def test_stopping_what_is_not_there(models: TrainedModels) -> None:
    await stop(models, "unknown")
    assert await refused(stop(models, "unknown", "allow_no_match=false")) == (
        404,
        "resource_not_found_exception",
        "No known model deployment with id [unknown]",
    )


async def test_a_deployed_model_is_not_deleted_unless_by_force(
    models: TrainedModels, engine: NotingEngine
) -> None:
    await start(models, "deployment_id=a")
    assert await refused(models.delete("mine", in_use=False, force=False)) == (
        409,
        "status_exception",
        "Cannot delete model [mine] as it is currently deployed; use force to delete the model",
    )
    await models.delete("mine", in_use=False, force=True)
    assert not models.serving
    assert (engine.models, engine.reservations) == ({}, {})


async def test_restart(models: TrainedModels, tmp_path: Path) -> None:
    deployment = await start(models, "deployment_id=a&number_of_allocations=2")
    await upload(models, "other")
    await start(models, model_id="other")
    await stop(models, "other")
    await models.close()
    after = models_in(tmp_path, engine := NotingEngine())
    await after.start()
    assert dict(after.serving) == {"a": deployment}
    assert engine.reservations == {"deployment:a": ("mine", 2, True)}
    await after.close()


async def test_what_was_never_ready_is_not_started_by_the_next_process(
    models: TrainedModels, engine: NotingEngine, tmp_path: Path
) -> None:
    engine.states["mine"] = ModelStatus("loading", "", preload=False)
    engine.failure = DeadlineExceededError("late")
    await start(models, "wait_for=starting&deployment_id=a")
    assert (await refused(start(models, "deployment_id=b")))[0] == 408

    async def kept() -> list[str]:
        await models.close()
        after = models_in(tmp_path, NotingEngine())
        await after.start()
        await after.close()
        return [*after.serving]

    assert await kept() == []
    await upload(models, "other")
    await start(models, model_id="other", query="wait_for=starting")
    assert await kept() == ["other"], "one whose model is there already is kept at once"
    engine.on_ready["mine"]()
    assert await kept() == ["a", "b", "other"]


async def test_a_start_allows_what_had_no_end_before(models: TrainedModels, tmp_path: Path) -> None:
    await start(models)
    await models.close()
    engine = NotingEngine()
    engine.blocked = {"mine": "it had no end"}
    after = models_in(tmp_path, engine)
    await after.start()
    (stats,) = answers.stats_documents(after.catalogue.get("mine"), after.serving, 5)
    assert (stats["deployment_stats"]["state"], stats["deployment_stats"]["reason"]) == (
        "failed",
        "it had no end",
    )
    await stop(after, "mine")
    deployment = await start(after)
    assert after.serving.state(deployment) == ("started", None)
    await after.close()


async def test_restart_with_damaged_or_strange_deployments(
    models: TrainedModels, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await start(models)
    await models.close()
    kept = (tmp_path / ".deployments.json").read_bytes()
    (tmp_path / ".deployments.json").write_bytes(kept.replace(b'"model_id":"mine"', b'"model_id":"gone"'))
    for content in (None, b"[{"):
        if content is not None:
            (tmp_path / ".deployments.json").write_bytes(content)
        after = models_in(tmp_path, NotingEngine())
        await after.start()
        assert not after.serving
        await after.close()
    assert "so no deployment is started again" in caplog.text


async def test_inference(models: TrainedModels) -> None:
    await start(models, "deployment_id=a")
    for name in ("a", "mine"):
        assert await infer(models, name, "four", "cut…") == [Inferred(4.0, False), Inferred(4.0, True)]
    usage = models.serving.usage("a")
    assert (usage.inferences, usage.failures) == (4, 0)
    assert usage.last_access is not None


async def test_no_more_documents_than_a_deployment_may_have_waiting(models: TrainedModels) -> None:
    await start(models, "queue_capacity=300")
    assert len(await infer(models, "mine", *["text"] * 300)) == 300
    assert await refused(infer(models, "mine", *["text"] * 301)) == (
        429,
        "es_rejected_execution_exception",
        "inference process queue is full. Unable to execute command",
    )


async def test_inference_without_a_deployment(models: TrainedModels) -> None:
    assert await refused(infer(models, "mine", "a")) == (
        409,
        "status_exception",
        "Model [mine] must be deployed to use. Please deploy with the start trained model deployment API.",
    )
    assert await refused(infer(models, "unknown", "a")) == (
        404,
        "resource_not_found_exception",
        "Could not find trained model [unknown]",
    )


@pytest.mark.parametrize(
    ("failure", "status", "kind", "reason"),
    [
        (DeadlineExceededError("x"), 408, "status_exception", "timeout [10s] waiting for inference result"),
        (QueueFullError("full"), 429, "es_rejected_execution_exception", "full"),
        (ModelFailedError("bad"), 409, "status_exception", "Trained model deployment is [failed]: bad"),
        (InferenceError("nan"), 500, "status_exception", "inference failed: nan"),
    ],
)
async def test_inference_that_fails(
    models: TrainedModels, engine: NotingEngine, failure: EngineError, status: int, kind: str, reason: str
) -> None:
    await start(models)
    engine.failure = failure
    assert await refused(infer(models, "mine", "a", "b")) == (status, kind, reason)
    assert models.serving.usage("mine").failures == 2


async def test_deployments_that_change_at_the_same_time_are_all_kept(
    models: TrainedModels, tmp_path: Path
) -> None:
    await asyncio.gather(*(start(models, f"deployment_id=d{number}") for number in range(8)))
    kept = json.loads((tmp_path / ".deployments.json").read_bytes())
    assert [each["deployment_id"] for each in kept] == [f"d{number}" for number in range(8)]


async def test_what_is_stopped_while_it_starts_was_never_ready(
    models: TrainedModels, engine: NotingEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stopped_meanwhile(model: str, deadline: float) -> None:
        await stop(models, "mine")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "wait_ready", stopped_meanwhile)
        await start(models)
    engine.states["mine"] = ModelStatus("loading", "", preload=False)
    await start(models, "wait_for=starting")
    await upload(models, "other")
    await start(models, model_id="other")
    await models.close()
    after = models_in(tmp_path, NotingEngine())
    await after.start()
    assert [*after.serving] == ["other"]
    await after.close()
