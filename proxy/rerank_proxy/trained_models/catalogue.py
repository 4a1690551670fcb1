"""Which models clients have uploaded, or are about to."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.vocabulary import Vocabulary
from rerank_proxy.files.names import without_directories
from rerank_proxy.settings import TrainedModelsSettings
from rerank_proxy.trained_models.directory import ModelDirectory
from rerank_proxy.trained_models.engine_port import ModelEngine
from rerank_proxy.trained_models.failures import (
    already_exists,
    bad_request,
    conflict,
    missing_model,
    not_found,
    rejected,
    status_error,
)
from rerank_proxy.trained_models.places import to_give_way
from rerank_proxy.trained_models.requests.config import TrainedModelConfig
from rerank_proxy.trained_models.requests.parts import DefinitionPart
from rerank_proxy.trained_models.upload import PartialDefinition

logger = logging.getLogger(__name__)

T = TypeVar("T")

_ALREADY: Final = "Trained machine learning model [{}] already exists"
_TRUNCATED: Final = "Model definition truncated. Unable to deserialize trained model definition [{}]"


@dataclass(slots=True)
class _Upload:
    """A model on its way. Whoever holds `lock` may change it, and must look at `gone` first."""

    config: TrainedModelConfig
    definition: PartialDefinition
    owner: bytes
    active_at: float
    reserved: int = 0
    has_vocabulary: bool = False
    gone: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    timer: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> bool:
        return self.lock.locked()


class Catalogue:
    """All uploaded models, whole or not. Belongs to the event loop that starts it.

    Args:
        clock: In seconds.

    Attributes:
        on_ready: Is called with the id of a model whenever the engine has loaded it.
    """

    def __init__(
        self,
        directory: ModelDirectory,
        engine: ModelEngine,
        settings: TrainedModelsSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self.on_ready: Callable[[str], None] = lambda model_id: None
        self._whole: dict[str, TrainedModelConfig] = {}
        self._sizes: dict[str, int] = {}
        self._failures: dict[str, str] = {}
        self._uploads: dict[str, _Upload] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._writing = asyncio.Lock()

    async def start(self) -> None:
        """Make the models of the directory known to the engine; when it cannot be read, there are none."""
        try:
            configs = await asyncio.to_thread(self._directory.open)
            failures = await asyncio.to_thread(self._directory.read_failures)
        except OSError as problem:
            logger.error("uploaded models cannot be read, and none is served: %s", problem)
            return
        self._failures = dict(failures)
        for config in configs:
            if config.model_id in self._engine.status():
                logger.warning("uploaded model [%s] has the name of one of the settings", config.model_id)
                continue
            self._register(config)
        # What the engine knows from the last process is to outlive this one, too.
        if self._failures != failures:
            await self._write_failures()

    async def close(self) -> None:
        """Let what has begun come to its end."""
        for upload in self._uploads.values():
            _stop_timer(upload)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._directory.close)

    def find(self, model_id: str) -> TrainedModelConfig | None:
        upload = self._uploads.get(model_id)
        return self._whole.get(model_id) if upload is None else upload.config

    def get(self, model_id: str) -> TrainedModelConfig:
        """Raises:
        ElasticsearchError: 404.
        """
        config = self.find(model_id)
        if config is None:
            raise missing_model(model_id)
        return config

    def all(self) -> list[TrainedModelConfig]:
        """By id, ascending."""
        configs = {**self._whole, **{name: upload.config for name, upload in self._uploads.items()}}
        return [configs[name] for name in sorted(configs)]

    def is_whole(self, model_id: str) -> bool:
        """Whether program and vocabulary are there (`fully_defined`)."""
        return model_id in self._whole

    def check_whole(self, model_id: str) -> TrainedModelConfig:
        """The configuration of a model that can be run.

        Raises:
            ElasticsearchError: 404 or 400, with what is missing.
        """
        config = self.get(model_id)
        upload = self._uploads.get(model_id)
        if upload is not None:
            if not upload.definition.begun:
                raise not_found(f"Could not find trained model definition [{model_id}]")
            if not upload.definition.complete:
                raise bad_request(_TRUNCATED.format(model_id))
            raise not_found(
                f"[{model_id}] Could not find vocabulary document [{model_id}_vocabulary] for model"
            )
        return config

    async def create(self, config: TrainedModelConfig, owner: bytes = b"") -> TrainedModelConfig:
        """Begin an upload.

        Args:
            owner: Tells its caller from others.

        Raises:
            ElasticsearchError: There is such a model, there are too many, or it could never be run.
        """
        return await self._whatever_happens(self._create(config, owner))

    async def put_part(self, model_id: str, part: DefinitionPart) -> None:
        """Raises:
        ElasticsearchError: There is no such upload, or the part does not go with the others.
        """
        await self._whatever_happens(self._put_part(model_id, part))

    async def put_vocabulary(self, model_id: str, vocabulary: Vocabulary) -> None:
        """Raises:
        ElasticsearchError: There is no such upload, or the vocabulary is not for its tokenization.
        """
        await self._whatever_happens(self._put_vocabulary(model_id, vocabulary))

    async def delete(self, model_id: str) -> None:
        """Raises:
        ElasticsearchError: 404.
        """
        await self._whatever_happens(self._delete(model_id))

    async def _create(self, config: TrainedModelConfig, owner: bytes) -> TrainedModelConfig:
        model_id, settings = config.model_id, self._settings
        if self.find(model_id) is not None or model_id in self._engine.status():
            raise already_exists(_ALREADY.format(model_id))
        with _refusals():
            self._directory.check(config)
        if (place := self._place_for(owner)) is not None:
            logger.warning("the upload of model [%s] makes room for [%s]", place.config.model_id, model_id)
            grave = self._let_go(place)
            self._begin(asyncio.to_thread(self._directory.destroy, grave))
        definition = self._directory.begin(model_id, settings.max_model_size)
        upload = self._uploads[model_id] = _Upload(config, definition, owner, self._clock())
        self._wait_for_more(upload)
        return config

    def _place_for(self, owner: bytes) -> _Upload | None:
        """The upload that has to go for a further one; None where there is room for both.

        Raises:
            ElasticsearchError: There is no room, and none is to be had.
        """
        settings = self._settings
        full = len(self._whole) + len(self._uploads) >= settings.max_models
        if not full and len(self._uploads) < settings.max_uploads:
            return None
        place = to_give_way(self._uploads.values(), owner, self._clock(), settings.upload_idle_s)
        if place is not None:
            return place
        if full:
            raise conflict(
                f"there are [{settings.max_models}] uploaded models, as many as [trained_models.max_models] "
                "allows; please delete unused ones"
            )
        raise rejected(
            f"[{settings.max_uploads}] models are being uploaded, as many as [trained_models.max_uploads] "
            "allows; try again when one is done"
        )

    async def _put_part(self, model_id: str, part: DefinitionPart) -> None:
        upload = self._upload(model_id, f"Trained machine learning model chunked doc [{model_id}]"
                              f"[{part.number}] already exists")  # fmt: skip
        async with upload.lock:
            self._check_there(upload)
            self._reserve(upload, part)
            try:
                await asyncio.to_thread(upload.definition.put, part)
            finally:
                upload.reserved = upload.definition.total_length
            if not upload.config.size:
                upload.config = replace(upload.config, size=part.total_length)
            await self._went_on(upload)

    def _reserve(self, upload: _Upload, part: DefinitionPart) -> None:
        """What is announced counts, so that no upload fails half way because of another."""
        others = sum(each.reserved for each in self._uploads.values() if each is not upload)
        total = sum(self._sizes.values()) + others + part.total_length
        if total > self._settings.max_total_size:
            raise conflict(
                f"[{upload.config.model_id}] would bring the uploaded models to [{total}] bytes, more than "
                f"the [{self._settings.max_total_size}] that [trained_models.max_total_size] allows; please "
                "delete unused ones"
            )
        upload.reserved = part.total_length

    async def _put_vocabulary(self, model_id: str, vocabulary: Vocabulary) -> None:
        upload = self._upload(model_id, f"Trained machine learning model vocabulary [{model_id}] "
                              "already exists")  # fmt: skip
        async with upload.lock:
            self._check_there(upload)
            with _refusals():
                await asyncio.to_thread(self._directory.put_vocabulary, upload.config, vocabulary)
            upload.has_vocabulary = True
            await self._went_on(upload)

    async def _delete(self, model_id: str) -> None:
        upload = self._uploads.get(model_id)
        if upload is not None:
            async with upload.lock:
                if not upload.gone:
                    await self._discard(upload)
                    return
        if model_id not in self._whole:  # as an upload may have become while its lock was waited for
            raise missing_model(model_id)
        del self._whole[model_id]
        del self._sizes[model_id]
        grave = self._directory.bury(model_id)
        self._engine.remove(model_id)
        if self._failures.pop(model_id, None) is not None:
            await self._write_failures()
        await asyncio.to_thread(self._directory.destroy, grave)

    def _upload(self, model_id: str, when_whole: str) -> _Upload:
        upload = self._uploads.get(model_id)
        if upload is None:
            raise already_exists(when_whole) if model_id in self._whole else missing_model(model_id)
        return upload

    def _check_there(self, upload: _Upload) -> None:
        if upload.gone:
            raise missing_model(upload.config.model_id)

    async def _went_on(self, upload: _Upload) -> None:
        """Make a whole model of an upload that lacks nothing; else wait for more of it."""
        _stop_timer(upload)
        upload.active_at = self._clock()
        if not (upload.has_vocabulary and upload.definition.complete):
            self._wait_for_more(upload)
            return
        try:
            await asyncio.to_thread(self._directory.finish, upload.config, upload.definition)
        except BaseException:
            self._wait_for_more(upload)
            raise
        self._forget(upload)
        self._register(upload.config)
        logger.info("model [%s] is uploaded, %d bytes", upload.config.model_id, upload.config.size)

    def _register(self, config: TrainedModelConfig) -> None:
        model_id = config.model_id
        self._whole[model_id] = config
        self._sizes[model_id] = self._directory.size(model_id)
        failed = self._engine.add(
            model_id,
            self._directory.package(model_id),
            failed=self._failures.get(model_id),
            on_ready=partial(self._is_ready, model_id),
        )
        if failed is not None:
            self._failures[model_id] = failed

    def _is_ready(self, model_id: str) -> None:
        if self._failures.pop(model_id, None) is not None:
            self._begin(self._write_failures())
        self.on_ready(model_id)

    async def _write_failures(self) -> None:
        async with self._writing:
            try:
                await asyncio.to_thread(self._directory.write_failures, dict(self._failures))
            except OSError as problem:
                logger.error("which models failed cannot be kept: %s", problem)

    def _wait_for_more(self, upload: _Upload) -> None:
        loop = asyncio.get_running_loop()
        upload.timer = loop.call_later(self._settings.upload_timeout_s, self._expired, upload)

    def _expired(self, upload: _Upload) -> None:
        self._begin(self._give_up(upload))

    async def _give_up(self, upload: _Upload) -> None:
        timer = upload.timer
        async with upload.lock:
            if upload.gone or upload.timer is not timer:  # something came at the last moment
                return
            logger.warning(
                "the upload of model [%s] has stopped and is removed: nothing came within "
                "[trained_models.upload_timeout_s: %gs]",
                upload.config.model_id,
                self._settings.upload_timeout_s,
            )
            await self._discard(upload)

    async def _discard(self, upload: _Upload) -> None:
        grave = self._let_go(upload)
        await asyncio.to_thread(self._directory.destroy, grave)

    def _let_go(self, upload: _Upload) -> Path:
        """Free its id and its place at once. What comes back is to be destroyed."""
        self._forget(upload)
        return self._directory.bury_upload(upload.config.model_id)

    def _forget(self, upload: _Upload) -> None:
        _stop_timer(upload)
        upload.gone = True
        del self._uploads[upload.config.model_id]

    async def _whatever_happens(self, work: Awaitable[T]) -> T:
        """Do something to its end also when who asked for it does not wait: files are not left half done."""
        try:
            return await asyncio.shield(self._begin(work))
        except OSError as problem:
            logger.exception("a model could not be kept")
            raise status_error(500, f"the model could not be kept: {problem.strerror}") from problem

    def _begin(self, work: Awaitable[T]) -> "asyncio.Task[T]":
        async def run() -> T:
            return await work

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _stop_timer(upload: _Upload) -> None:
    if upload.timer is not None:
        upload.timer.cancel()
        upload.timer = None


@contextmanager
def _refusals() -> Iterator[None]:
    """What would keep the engine from running a model is said while it is uploaded."""
    try:
        yield
    except ModelLoadError as problem:
        raise bad_request(without_directories(str(problem))) from None


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
