"""One model of the settings on its way from a name to something that scores."""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np

from proxy.settings import EngineSettings, ModelSettings

from .batch import Batch
from .daemon import run_in_daemon_thread
from .errors import EngineClosedError, EngineError, ModelFailedError, ModelLoadError
from .metrics import EngineMetrics
from .runner import Runner
from .scheduler import Lane, Scheduler
from .scoring import LoadedModel

_log = logging.getLogger(__name__)

_WARM_UP_TEXTS = ("short", "warm up " * 300)
"""The second one is as long as a model of 512 tokens takes."""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """How a model stands. `detail` is a line for people: what is loaded, or why not and what to do."""

    state: Literal["loading", "ready", "failed"]
    detail: str


class Model:
    """A configured model: first loading, then ready or failed, for good."""

    def __init__(self, name: str, settings: ModelSettings) -> None:
        self.name = name
        self.status = ModelStatus("loading", f"loading from [{settings.source}]")
        self._settings = settings
        self._settled = asyncio.Event()
        self._ready: tuple[LoadedModel, Lane] | None = None
        self._error: EngineError | None = None

    async def ready(self) -> tuple[LoadedModel, Lane]:
        """Wait until the model can score.

        Raises:
            ModelFailedError: It never will.
            EngineClosedError: The engine was closed meanwhile.
        """
        await self._settled.wait()
        if self._ready is None:
            assert self._error is not None  # `_fail` sets it.
            raise self._error
        return self._ready

    async def load(
        self, engine: EngineSettings, runner: Runner, scheduler: Scheduler, metrics: EngineMetrics
    ) -> None:
        """Load and warm up on other threads. Never raises for a bad model."""
        metrics.ready.labels(self.name).set(0)
        metrics.load_failed.labels(self.name).set(0)
        started = time.monotonic()
        try:
            loaded = await run_in_daemon_thread(
                lambda: _load(self._settings, engine), f"engine-load-{self.name}"
            )
            await runner.on_device(lambda: _warm_up(loaded))
        except Exception as error:  # The process goes on, whatever the libraries below come up with.
            metrics.load_failed.labels(self.name).set(1)
            self._fail(ModelFailedError(_problem(self._settings, error)))
            unforeseen = None if isinstance(error, ModelLoadError) else error
            _log.error("model [%s] cannot be loaded: %s", self.name, self.status.detail, exc_info=unforeseen)
        else:
            lane = Lane(self.name, loaded.backend, loaded.budget_tokens)
            metrics.watch_queue(lane, scheduler)
            self._succeed(loaded, lane, time.monotonic() - started, metrics)

    def close(self) -> None:
        """Let nobody wait any longer for a model whose loading was cancelled."""
        if not self._settled.is_set():
            self._fail(EngineClosedError("the engine was closed while the model was loading"))

    def _succeed(self, loaded: LoadedModel, lane: Lane, seconds: float, metrics: EngineMetrics) -> None:
        detail = (
            "{kind} {architecture} on {device} in {dtype}, {max_length} tokens; ".format_map(loaded.info)
            + f"loaded in {seconds:.1f} s from [{self._settings.source}]"
        )
        self.status = ModelStatus("ready", detail)
        self._ready = loaded, lane
        self._settled.set()
        metrics.loaded(self.name, loaded.info, seconds)
        _log.info("model [%s] is ready: %s", self.name, detail)

    def _fail(self, error: EngineError) -> None:
        self.status = ModelStatus("failed", str(error))
        self._error = error
        self._settled.set()


def _load(settings: ModelSettings, engine: EngineSettings) -> LoadedModel:
    # Imported on the loading thread: torch and transformers take seconds.
    from .load import load

    return load(settings, engine)


def _warm_up(loaded: LoadedModel) -> None:
    """Let the libraries below do what they do on first use, and see that the outputs are sane."""
    rows = loaded.scorer.encode("query", _WARM_UP_TEXTS, range(len(_WARM_UP_TEXTS)))
    values = loaded.backend.score(Batch.of(rows))
    if loaded.info["kind"] == "cross-encoder" and values.shape[1:] != (1,):
        raise ModelLoadError(f"it gives {values.shape[1]} numbers for a text; a cross-encoder gives one")
    if not np.isfinite(values).all():
        raise ModelLoadError(
            f"it gives numbers that are not finite in {loaded.info['dtype']}; set engine.dtype to float32"
        )


def _problem(settings: ModelSettings, error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, ModelLoadError):
        return text if settings.source in text else f"[{settings.source}]: {text}"
    return f"[{settings.source}] cannot be loaded ({type(error).__name__}: {text})"
