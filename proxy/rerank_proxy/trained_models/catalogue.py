"""The models that clients have uploaded or are uploading."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.packages.vocabulary import Vocabulary
from rerank_proxy.errors import status_error
from rerank_proxy.files.names import without_directories
from rerank_proxy.files.state import unwritable_text
from rerank_proxy.settings import TrainedModelsSettings
from rerank_proxy.trained_models.directory import ModelDirectory
from rerank_proxy.trained_models.engine_port import ModelEngine
from rerank_proxy.trained_models.failures import already_exists, bad_request, missing_model, not_found
from rerank_proxy.trained_models.model_config import TrainedModelConfig
from rerank_proxy.trained_models.requests.parts import DefinitionPart
from rerank_proxy.trained_models.uploads import Upload, Uploads

logger = logging.getLogger(__name__)

T = TypeVar("T")

_MODEL_EXISTS: Final = "Trained machine learning model [{}] already exists"
_PART_EXISTS: Final = "Trained machine learning model chunked doc [{}][{}] already exists"
_VOCABULARY_EXISTS: Final = "Trained machine learning model vocabulary [{}] already exists"
_TRUNCATED: Final = "Model definition truncated. Unable to deserialize trained model definition [{}]"
_NO_DEFINITION: Final = "Could not find trained model definition [{}]"
_NO_VOCABULARY: Final = "[{0}] Could not find vocabulary document [{0}_vocabulary] for model"


class Catalogue:
    """All uploaded models, complete or not. Belongs to the event loop that starts it.

    Args:
        clock: In seconds.

    Attributes:
        on_ready: Called with the id of a model whenever the engine has loaded it.
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
        self.on_ready: Callable[[str], None] = lambda model_id: None
        self._complete: dict[str, TrainedModelConfig] = {}
        self._sizes: dict[str, int] = {}
        self._failures: dict[str, str] = {}
        self._tasks = BackgroundTasks()
        self._uploads = Uploads(settings, clock, lambda upload: self._tasks.start(self._give_up(upload)))
        self._writing = asyncio.Lock()

    async def start(self) -> None:
        """Tell the engine of the models in the directory; if it cannot be read, there are none."""
        try:
            configs = await asyncio.to_thread(self._directory.open)
            failures = await asyncio.to_thread(self._directory.read_failures)
        except OSError as problem:
            logger.error("cannot read the uploaded models, so none is served: %s", problem)
            return
        self._failures = dict(failures)
        for config in configs:
            if config.model_id in self._engine.status():
                logger.warning(
                    "uploaded model [%s] is not served: a model of the settings has that name",
                    config.model_id,
                )
                continue
            self._register(config)
        # The engine may know of failures of the last process, which the next one has to know of too.
        if self._failures != failures:
            await self._write_failures()

    async def close(self) -> None:
        """Let all that has begun come to an end."""
        self._uploads.stop_timers()
        await self._tasks.finish()
        await asyncio.to_thread(self._directory.close)

    def find(self, model_id: str) -> TrainedModelConfig | None:
        upload = self._uploads.get(model_id)
        return self._complete.get(model_id) if upload is None else upload.config

    def get(self, model_id: str) -> TrainedModelConfig:
        """Return the configuration of a model, complete or not.

        Raises:
            ElasticsearchError: 404.
        """
        config = self.find(model_id)
        if config is None:
            raise missing_model(model_id)
        return config

    def all(self) -> list[TrainedModelConfig]:
        """Return all configurations, ordered by id."""
        configs = {**self._complete, **{name: upload.config for name, upload in self._uploads.items()}}
        return [configs[name] for name in sorted(configs)]

    def is_complete(self, model_id: str) -> bool:
        """Tell whether a model's program and vocabulary are there (`fully_defined`)."""
        return model_id in self._complete

    def get_complete(self, model_id: str) -> TrainedModelConfig:
        """Return the configuration of a model that can be run.

        Raises:
            ElasticsearchError: 404 or 400, saying what is missing.
        """
        config = self.get(model_id)
        upload = self._uploads.get(model_id)
        if upload is None:
            return config
        if not upload.definition.begun:
            raise not_found(_NO_DEFINITION.format(model_id))
        if not upload.definition.complete:
            raise bad_request(_TRUNCATED.format(model_id))
        raise not_found(_NO_VOCABULARY.format(model_id))

    async def create(self, config: TrainedModelConfig, owner: bytes = b"") -> TrainedModelConfig:
        """Begin an upload.

        Args:
            owner: Identifies the caller.

        Raises:
            ElasticsearchError: The model exists, there are too many, or it could never be run.
        """
        return await self._shielded(self._create(config, owner))

    async def put_part(self, model_id: str, part: DefinitionPart) -> None:
        """Keep a part of the program of an upload.

        Raises:
            ElasticsearchError: There is no such upload, or the part does not fit the others.
        """
        await self._shielded(self._put_part(model_id, part))

    async def put_vocabulary(self, model_id: str, vocabulary: Vocabulary) -> None:
        """Keep the vocabulary of an upload.

        Raises:
            ElasticsearchError: There is no such upload, or the vocabulary does not fit its tokenization.
        """
        await self._shielded(self._put_vocabulary(model_id, vocabulary))

    async def delete(self, model_id: str) -> None:
        """Delete a model or an upload.

        Raises:
            ElasticsearchError: 404.
        """
        await self._shielded(self._delete(model_id))

    async def _create(self, config: TrainedModelConfig, owner: bytes) -> TrainedModelConfig:
        model_id = config.model_id
        if self.find(model_id) is not None or model_id in self._engine.status():
            raise already_exists(_MODEL_EXISTS.format(model_id))
        with _as_bad_request():
            self._directory.check(config)
        evicted = self._uploads.evicted_for(owner, len(self._complete))
        if evicted is not None:
            logger.warning(
                "the upload of model [%s] is removed to make room for [%s]", evicted.config.model_id, model_id
            )
            pending = self._detach(evicted)
            self._tasks.start(asyncio.to_thread(self._directory.delete, pending))
        definition = self._directory.begin(model_id, self._settings.max_model_size)
        self._uploads.begin(config, definition, owner)
        return config

    async def _put_part(self, model_id: str, part: DefinitionPart) -> None:
        upload = self._upload(model_id, _PART_EXISTS.format(model_id, part.number))
        async with upload.lock:
            self._check_not_gone(upload)
            self._uploads.reserve(upload, part.total_length, sum(self._sizes.values()))
            try:
                await asyncio.to_thread(upload.definition.put, part)
            finally:
                upload.reserved = upload.definition.total_length
            if not upload.config.size:
                upload.config = replace(upload.config, size=part.total_length)
            await self._proceed(upload)

    async def _put_vocabulary(self, model_id: str, vocabulary: Vocabulary) -> None:
        upload = self._upload(model_id, _VOCABULARY_EXISTS.format(model_id))
        async with upload.lock:
            self._check_not_gone(upload)
            with _as_bad_request():
                await asyncio.to_thread(self._directory.put_vocabulary, upload.config, vocabulary)
            upload.has_vocabulary = True
            await self._proceed(upload)

    async def _delete(self, model_id: str) -> None:
        upload = self._uploads.get(model_id)
        if upload is not None:
            async with upload.lock:
                if not upload.gone:
                    await self._discard(upload)
                    return
        if model_id not in self._complete:  # an upload may have become complete while its lock was awaited
            raise missing_model(model_id)
        del self._complete[model_id]
        del self._sizes[model_id]
        pending = self._directory.detach(model_id)
        self._engine.remove(model_id)
        if self._failures.pop(model_id, None) is not None:
            await self._write_failures()
        await asyncio.to_thread(self._directory.delete, pending)

    def _upload(self, model_id: str, reason_if_complete: str) -> Upload:
        upload = self._uploads.get(model_id)
        if upload is None:
            is_complete = model_id in self._complete
            raise already_exists(reason_if_complete) if is_complete else missing_model(model_id)
        return upload

    def _check_not_gone(self, upload: Upload) -> None:
        if upload.gone:
            raise missing_model(upload.config.model_id)

    async def _proceed(self, upload: Upload) -> None:
        """Make a model of an upload that lacks nothing; otherwise wait for more of it."""
        self._uploads.note_progress(upload)
        if not upload.complete:
            self._uploads.wait_for_more(upload)
            return
        try:
            await asyncio.to_thread(self._directory.finish, upload.config, upload.definition)
        except BaseException:
            self._uploads.wait_for_more(upload)
            raise
        self._uploads.remove(upload)
        self._register(upload.config)
        logger.info("model [%s] is uploaded, %d bytes", upload.config.model_id, upload.config.size)

    def _register(self, config: TrainedModelConfig) -> None:
        model_id = config.model_id
        self._complete[model_id] = config
        self._sizes[model_id] = self._directory.size(model_id)
        failed = self._engine.add(
            model_id,
            self._directory.package(model_id),
            failed=self._failures.get(model_id),
            on_ready=partial(self._note_ready, model_id),
        )
        if failed is not None:
            self._failures[model_id] = failed

    def _note_ready(self, model_id: str) -> None:
        if self._failures.pop(model_id, None) is not None:
            self._tasks.start(self._write_failures())
        self.on_ready(model_id)

    async def _write_failures(self) -> None:
        async with self._writing:
            try:
                await asyncio.to_thread(self._directory.write_failures, dict(self._failures))
            except OSError as problem:
                logger.error("cannot save which models have failed: %s", problem)

    async def _give_up(self, upload: Upload) -> None:
        timer = upload.timer
        async with upload.lock:
            if upload.gone or upload.timer is not timer:  # something arrived at the last moment
                return
            logger.warning(
                "the upload of model [%s] has stalled and is removed: nothing arrived within "
                "[trained_models.upload_timeout_s: %gs]",
                upload.config.model_id,
                self._settings.upload_timeout_s,
            )
            await self._discard(upload)

    async def _discard(self, upload: Upload) -> None:
        pending = self._detach(upload)
        await asyncio.to_thread(self._directory.delete, pending)

    def _detach(self, upload: Upload) -> Path:
        """Free the id of an upload and its place, without waiting. Return its pending deletion."""
        self._uploads.remove(upload)
        return self._directory.detach_upload(upload.config.model_id)

    async def _shielded(self, work: Coroutine[Any, Any, T]) -> T:
        """Finish `work` even if the caller stops waiting for it: no file may be left half done."""
        try:
            return await asyncio.shield(self._tasks.start(work))
        except OSError as problem:
            logger.error("a model could not be saved: %s", unwritable_text(problem, self._directory.path))
            raise status_error(500, f"the model could not be saved: {problem.strerror}") from problem


@contextmanager
def _as_bad_request() -> Iterator[None]:
    """Refuse, already while it is uploaded, a model that the engine could not run."""
    try:
        yield
    except ModelLoadError as problem:
        raise bad_request(without_directories(str(problem))) from None


def now_ms() -> int:
    """Return the milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
