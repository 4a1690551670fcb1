"""The deployments that clients have started, and inference with them."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rerank_proxy.concurrency.deadline import deadline_in
from rerank_proxy.concurrency.tasks import BackgroundTasks, side_by_side
from rerank_proxy.engine import (
    DeadlineExceededError,
    EngineClosedError,
    EngineError,
    ModelFailedError,
    QueueFullError,
    UnknownModelError,
)
from rerank_proxy.errors import ElasticsearchError, error, rejected, status_error
from rerank_proxy.files.names import without_directories
from rerank_proxy.trained_models.catalogue import Catalogue, now_ms
from rerank_proxy.trained_models.deployment import Deployment
from rerank_proxy.trained_models.directory import ModelDirectory
from rerank_proxy.trained_models.engine_port import ModelEngine
from rerank_proxy.trained_models.failures import bad_request, conflict, missing_deployment, not_found
from rerank_proxy.trained_models.model_config import TrainedModelConfig
from rerank_proxy.trained_models.requests.deployments import StartRequest, StopRequest, UpdateRequest
from rerank_proxy.trained_models.requests.infer import Inferred, InferRequest

logger = logging.getLogger(__name__)

NODE: Final = "rerank-proxy"
"""The id of the only node that models are allocated to."""

_TEXTS_AT_ONCE: Final = 256
"""Texts of one request that are scored side by side: several batches, yet few enough to begin without holding
up other requests."""


@dataclass(slots=True)
class Usage:
    """Counts of what a deployment has inferred since the process began.

    Attributes:
        last_access: Milliseconds since the epoch.
    """

    inferences: int = 0
    failures: int = 0
    cached: int = 0
    last_access: int | None = None


class Deployments(Mapping[str, Deployment]):
    """All started deployments by id. Belongs to the event loop that starts it.

    Args:
        clock: Milliseconds since the epoch.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        directory: ModelDirectory,
        engine: ModelEngine,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._catalogue = catalogue
        self._directory = directory
        self._engine = engine
        self._clock = clock
        self._started: dict[str, Deployment] = {}
        self._proven: set[str] = set()  # those that have been ready once
        self._tasks = BackgroundTasks()
        self._usage: dict[str, Usage] = {}
        self._writing = asyncio.Lock()

    def __getitem__(self, deployment_id: str) -> Deployment:
        return self._started[deployment_id]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._started))

    def __len__(self) -> int:
        return len(self._started)

    async def restore(self) -> None:
        """Start the deployments that were started when the last process ended, and had been ready."""
        self._catalogue.on_ready = self._note_ready
        for deployment in await asyncio.to_thread(self._directory.read_deployments):
            if self._catalogue.is_complete(deployment.model_id):
                self._proven.add(deployment.deployment_id)
                self._keep(deployment)

    async def close(self) -> None:
        """Finish writing."""
        await self._tasks.finish()

    def of_model(self, model_id: str) -> list[Deployment]:
        return [each for each in self.values() if each.model_id == model_id]

    def usage(self, deployment_id: str) -> Usage:
        return self._usage[deployment_id]

    def state(self, deployment: Deployment) -> tuple[str, str | None]:
        """Return `started`, `starting` or `failed`, and the reason of a failure."""
        status = self._engine.status().get(deployment.model_id)
        if status is None or status.state == "failed":
            return "failed", None if status is None else without_directories(status.detail)
        return ("starting" if status.state == "loading" else "started"), None

    async def start(self, request: StartRequest) -> Deployment:
        """Start a deployment, and wait for its model as the request says.

        Raises:
            ElasticsearchError: The deployment exists, its model is not complete, cannot be loaded, or is not
                loaded in time; in the last case it goes on loading.
        """
        deadline = deadline_in(request.timeout.nanos / 1e9)
        deployment_id, model_id = request.deployment_id, request.model_id
        if deployment_id in self._started:
            raise bad_request(
                "Could not start model deployment because an existing deployment with the same id "
                f"[{deployment_id}] exist"
            )
        config = self._catalogue.get(model_id)
        if deployment_id != model_id and self._catalogue.find(deployment_id) is not None:
            raise bad_request(
                f"Deployment id [{deployment_id}] is the same as an another model which is not the model "
                "being deployed. Deployment id can be the same as the model being deployed but cannot match "
                "a different model"
            )
        self._catalogue.get_complete(model_id)
        deployment = request.deployment(config.size, self._clock())
        self._engine.allow(model_id)
        self._keep(deployment)
        if request.wait_for != "starting":
            await self._wait(request, deadline)
        if deployment_id in self._started and self._engine.status()[model_id].state == "ready":
            self._proven.add(deployment_id)
            await self._write()
        return deployment

    async def update(self, deployment_id: str, request: UpdateRequest) -> Deployment:
        """Change a deployment.

        Raises:
            ElasticsearchError: 404, 409 while it starts, or 400 for a change that is not possible.
        """
        deployment = self._started.get(deployment_id)
        if deployment is None:
            raise missing_deployment(deployment_id)
        updated = request.applied_to(deployment)
        if updated == deployment:
            return deployment
        if self.state(deployment)[0] != "started":
            raise conflict("cannot update deployment that is not in [started] state")
        self._keep(updated)
        await self._write()
        return updated

    async def stop(self, request: StopRequest) -> None:
        """Stop a deployment.

        Raises:
            ElasticsearchError: 404, unless the request allows no match.
        """
        if request.deployment_id in self._started:
            self._drop(request.deployment_id)
            await self._write()
        elif not request.allow_no_match:
            raise missing_deployment(request.deployment_id)

    async def stop_model(self, model_id: str) -> None:
        """Stop all deployments of a model."""
        for deployment in self.of_model(model_id):
            self._drop(deployment.deployment_id)
        await self._write()

    def find(self, name: str) -> Deployment | None:
        """Return the deployment with an id, or one of the model with that id."""
        return self._started.get(name) or next(iter(self.of_model(name)), None)

    async def infer(self, name: str, request: InferRequest) -> tuple[TrainedModelConfig, list[Inferred]]:
        """Score documents.

        Args:
            name: The id of a deployment or a model.

        Raises:
            ElasticsearchError: There is none with that id, the model is not deployed, the documents do not
                suit it, or it does not answer in time.
        """
        deployment = self.find(name)
        if deployment is None:
            raise self._not_deployed(name)
        config = self._catalogue.get(deployment.model_id)
        query, texts = request.query(config), request.texts(config)
        if len(texts) > deployment.queue_capacity:
            raise rejected("inference process queue is full. Unable to execute command")
        usage = self._usage[deployment.deployment_id]
        usage.last_access = self._clock()
        try:
            results = await self._score(deployment.model_id, query, texts, request)
        except ElasticsearchError:
            usage.failures += len(texts)
            raise
        usage.inferences += len(texts)
        usage.cached += sum(result.cached for result in results)
        return config, results

    async def _score(
        self, model_id: str, query: str, texts: list[str], request: InferRequest
    ) -> list[Inferred]:
        """Score each text in a call of its own, since each has its own result; the engine makes batches."""
        deadline = deadline_in(request.timeout.nanos / 1e9)

        async def one(text: str) -> Inferred:
            reranked = await self._engine.scores(model_id, query, [text], deadline)
            return Inferred(reranked.values[0], reranked.truncated > 0, reranked.cached > 0)

        results: list[Inferred] = []
        try:
            for some in _groups(texts):
                results += await side_by_side(one(text) for text in some)
        except EngineError as failure:
            timed_out = f"timeout [{request.timeout}] waiting for inference result"
            raise _in_native_words(failure, timed_out) from failure
        return results

    async def _wait(self, request: StartRequest, deadline: float) -> None:
        deployment_id = request.deployment_id
        try:
            await self._engine.wait_ready(request.model_id, deadline)
        except DeadlineExceededError:
            raise error(
                408,
                "model_deployment_timeout_exception",
                f"Timed out after [{request.timeout}] waiting for trained model deployment "
                f"[{deployment_id}] to start. Use the trained model stats API to track the state of the "
                "deployment and try again once it has started.",
            ) from None
        except EngineError as failure:
            if deployment_id in self._started:
                self._drop(deployment_id)
                await self._write()
            if isinstance(failure, UnknownModelError):  # it was deleted meanwhile
                raise missing_deployment(deployment_id) from None
            raise status_error(
                500,
                "Could not start trained model deployment, the following nodes failed with errors "
                f"[{{{NODE}={without_directories(str(failure))}}}]",
            ) from None

    def _keep(self, deployment: Deployment) -> None:
        self._started[deployment.deployment_id] = deployment
        self._usage.setdefault(deployment.deployment_id, Usage())
        self._engine.reserve(
            deployment.model_id,
            _holder(deployment.deployment_id),
            deployment.threads,
            keep_loaded=deployment.keep_loaded,
        )

    def _note_ready(self, model_id: str) -> None:
        """Save the deployments of a model once it has been ready.

        One whose loading never ends must not be started again by every process.
        """
        ready = {each.deployment_id for each in self.of_model(model_id)}
        if ready - self._proven:
            self._proven |= ready
            self._tasks.start(self._write())

    def _drop(self, deployment_id: str) -> None:
        deployment = self._started.pop(deployment_id)
        self._proven.discard(deployment_id)
        del self._usage[deployment_id]
        self._engine.release(deployment.model_id, _holder(deployment_id))

    async def _write(self) -> None:
        async with self._writing:
            proven = [each for each in self.values() if each.deployment_id in self._proven]
            await asyncio.to_thread(self._directory.write_deployments, proven)

    def _not_deployed(self, name: str) -> ElasticsearchError:
        if self._catalogue.find(name) is None:
            return not_found(f"Could not find trained model [{name}]")
        return conflict(
            f"Model [{name}] must be deployed to use. Please deploy with the start trained model deployment "
            "API."
        )


def _holder(deployment_id: str) -> str:
    """Return the holder of a deployment's reservation; no inference id begins like this."""
    return f"deployment:{deployment_id}"


def _groups(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    return (texts[first : first + _TEXTS_AT_ONCE] for first in range(0, len(texts), _TEXTS_AT_ONCE))


def _in_native_words(failure: EngineError, timed_out: str) -> ElasticsearchError:
    if isinstance(failure, DeadlineExceededError):
        return status_error(408, timed_out)
    if isinstance(failure, QueueFullError):
        return rejected(str(failure), failure.retry_after_s)
    if isinstance(failure, ModelFailedError):
        return conflict(f"Trained model deployment is [failed]: {without_directories(str(failure))}")
    if isinstance(failure, EngineClosedError):
        return status_error(503, f"inference failed: {failure}")
    return status_error(500, f"inference failed: {without_directories(str(failure))}")
