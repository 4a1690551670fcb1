"""Which models clients have uploaded, or are about to."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from proxy.engine.errors import ModelLoadError
from proxy.file_names import without_directories
from proxy.settings import TrainedModelsSettings
from proxy.trained_models.config import TrainedModelConfig
from proxy.trained_models.directory import ModelDirectory
from proxy.trained_models.engine import ModelEngine
from proxy.trained_models.failures import (
    already_exists,
    bad_request,
    conflict,
    missing_model,
    not_found,
    rejected,
    status_error,
)
from proxy.trained_models.parts import DefinitionPart
from proxy.trained_models.upload import PartialDefinition

logger = logging.getLogger(__name__)

T = TypeVar("T")

_ALREADY: Final = "Trained machine learning model [{}] already exists"
_TRUNCATED: Final = "Model definition truncated. Unable to deserialize trained model definition [{}]"


@dataclass(slots=True)
class _Upload:
    """A model on its way. Whoever holds `lock` may change it, and must look at `gone` first."""

    config: TrainedModelConfig
    definition: PartialDefinition
    vocabulary: Mapping[str, Any] | None = None
    gone: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    timer: asyncio.TimerHandle | None = None


class Catalogue:
    """All uploaded models, whole or not. Belongs to the event loop that starts it."""

    def __init__(
        self, directory: ModelDirectory, engine: ModelEngine, settings: TrainedModelsSettings
    ) -> None:
        self._directory = directory
        self._engine = engine
        self._settings = settings
        self._whole: dict[str, TrainedModelConfig] = {}
        self._uploads: dict[str, _Upload] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Make the models of the directory known to the engine; when it cannot be read, there are none."""
        try:
            configs = await asyncio.to_thread(self._directory.open)
        except OSError as problem:
            logger.error("uploaded models cannot be read, and none is served: %s", problem)
            return
        for config in configs:
            if config.model_id in self._engine.status():
                logger.warning("uploaded model [%s] has the name of one of the settings", config.model_id)
                continue
            self._register(config)

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

    async def create(self, config: TrainedModelConfig) -> TrainedModelConfig:
        """Begin an upload.

        Raises:
            ElasticsearchError: There is such a model, there are too many, or it could never be run.
        """
        return await self._whatever_happens(self._create(config))

    async def put_part(self, model_id: str, part: DefinitionPart) -> None:
        """Raises:
        ElasticsearchError: There is no such upload, or the part does not go with the others.
        """
        await self._whatever_happens(self._put_part(model_id, part))

    async def put_vocabulary(self, model_id: str, vocabulary: Mapping[str, Any]) -> None:
        """Raises:
        ElasticsearchError: There is no such upload, or the vocabulary is not for its tokenization.
        """
        await self._whatever_happens(self._put_vocabulary(model_id, vocabulary))

    async def delete(self, model_id: str) -> None:
        """Raises:
        ElasticsearchError: 404.
        """
        await self._whatever_happens(self._delete(model_id))

    async def _create(self, config: TrainedModelConfig) -> TrainedModelConfig:
        model_id, settings = config.model_id, self._settings
        if self.find(model_id) is not None or model_id in self._engine.status():
            raise already_exists(_ALREADY.format(model_id))
        if len(self._whole) + len(self._uploads) >= settings.max_models:
            raise conflict(
                f"there are [{settings.max_models}] uploaded models, as many as [trained_models.max_models] "
                "allows; please delete unused ones"
            )
        if len(self._uploads) >= settings.max_uploads:
            raise rejected(
                f"[{settings.max_uploads}] models are being uploaded, as many as "
                "[trained_models.max_uploads] allows; try again when one is done"
            )
        _check(lambda: self._directory.check(config, None))
        definition = self._directory.begin(model_id, settings.max_model_size)
        upload = self._uploads[model_id] = _Upload(config, definition)
        self._wait_for_more(upload)
        return config

    async def _put_part(self, model_id: str, part: DefinitionPart) -> None:
        upload = self._upload(model_id, f"Trained machine learning model chunked doc [{model_id}]"
                              f"[{part.number}] already exists")  # fmt: skip
        async with upload.lock:
            self._check_there(upload)
            await asyncio.to_thread(upload.definition.put, part)
            if not upload.config.size:
                upload.config = replace(upload.config, size=part.total_length)
            await self._went_on(upload)

    async def _put_vocabulary(self, model_id: str, vocabulary: Mapping[str, Any]) -> None:
        upload = self._upload(model_id, f"Trained machine learning model vocabulary [{model_id}] "
                              "already exists")  # fmt: skip
        async with upload.lock:
            self._check_there(upload)
            _check(lambda: self._directory.check(upload.config, vocabulary))
            upload.vocabulary = vocabulary
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
        grave = self._directory.bury(model_id)
        await self._engine.remove(model_id)
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
        if upload.vocabulary is None or not upload.definition.complete:
            self._wait_for_more(upload)
            return
        try:
            await asyncio.to_thread(
                self._directory.finish, upload.config, upload.definition, upload.vocabulary
            )
        except BaseException:
            self._wait_for_more(upload)
            raise
        self._forget(upload)
        self._register(upload.config)
        logger.info("model [%s] is uploaded, %d bytes", upload.config.model_id, upload.config.size)

    def _register(self, config: TrainedModelConfig) -> None:
        self._whole[config.model_id] = config
        self._engine.add(config.model_id, self._directory.package(config.model_id))

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
            logger.warning("the upload of model [%s] has stopped and is removed", upload.config.model_id)
            await self._discard(upload)

    async def _discard(self, upload: _Upload) -> None:
        self._forget(upload)
        grave = self._directory.bury_upload(upload.config.model_id)
        await asyncio.to_thread(self._directory.destroy, grave)

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


def _check(check: Callable[[], None]) -> None:
    """What would keep the engine from running a model is said while it is uploaded."""
    try:
        check()
    except ModelLoadError as problem:
        raise bad_request(without_directories(str(problem))) from None


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
