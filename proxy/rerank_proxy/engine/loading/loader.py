"""Load models on other threads than the event loop's."""

import gc
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from rerank_proxy.concurrency.daemon_threads import run_in_daemon_thread
from rerank_proxy.engine.errors import ModelFailedError, ModelLoadError
from rerank_proxy.engine.hangs.watchdog import Watchdog
from rerank_proxy.engine.loading.choose import load
from rerank_proxy.engine.loading.loaded_model import LoadedModel, warm_up
from rerank_proxy.observe.log import flattened
from rerank_proxy.settings import EngineSettings, ModelSettings

_LONGEST_PROBLEM: Final = 1000
"""Characters."""

_T = TypeVar("_T")

Watch = Callable[[], AbstractContextManager[None]]
"""Have the watchdog watch what is done within."""


class OnDevice(Protocol):
    """Run something on the thread of the device."""

    async def __call__(self, work: Callable[[], _T]) -> _T: ...


@dataclass(frozen=True, slots=True)
class WarmModel:
    """A loaded model that has run its first batch."""

    model: LoadedModel
    load_s: float
    """The seconds that loading took."""
    pace_s: float
    """Seconds per token."""


class Loader:
    """Loads models for one device."""

    def __init__(self, settings: EngineSettings, on_device: OnDevice, watchdog: Watchdog) -> None:
        self._settings = settings
        self._on_device = on_device
        self._watchdog = watchdog

    async def load(self, name: str, settings: ModelSettings) -> WarmModel:
        """Load a model and warm it up.

        Raises:
            ModelFailedError: With one line that names the source. Its cause is the underlying error, unless
                that is a `ModelLoadError`, which says no more.
        """
        started = time.monotonic()
        try:
            loaded = await run_in_daemon_thread(
                lambda: _load(name, settings, self._settings, lambda: self._watchdog.load(name)),
                f"engine-load-{name}",
            )
            pace_s = await self._on_device(lambda: self._warm_up(name, loaded))
        except ModelLoadError as error:
            raise ModelFailedError(_problem(settings, error)) from None
        except Exception as error:  # The process goes on, no matter what the libraries raise.
            raise ModelFailedError(_problem(settings, error)) from error
        return WarmModel(loaded, time.monotonic() - started, pace_s)

    async def free(self) -> None:
        """Give back the memory of models to which nothing refers any more."""
        await self._on_device(_free)

    def _warm_up(self, name: str, loaded: LoadedModel) -> float:
        with self._watchdog.load(name):
            pace_s = warm_up(loaded)
        # Hundreds of thousands of objects came with the libraries. They stay, and the garbage collector,
        # which stops all threads while it goes through them, need not do so again and again.
        gc.freeze()
        return pace_s


def _load(name: str, settings: ModelSettings, engine: EngineSettings, watch: Watch) -> LoadedModel:
    return load(name, settings, engine, watch)


def _free() -> None:
    gc.unfreeze()
    gc.collect()  # networks of transformers refer to themselves
    gc.freeze()
    # Not there where no model runs on torch, and not yet whole while another thread imports it.
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is not None and cuda.is_available():
        cuda.empty_cache()


def _problem(settings: ModelSettings, error: Exception) -> str:
    """Return one line of printable characters: names and texts of a model's files may be in it."""
    text = flattened(str(error))
    if len(text) > _LONGEST_PROBLEM:
        text = f"{text[:_LONGEST_PROBLEM]} …"
    if isinstance(error, ModelLoadError):
        return text if settings.source in text else f"[{settings.source}]: {text}"
    return f"[{settings.source}] cannot be loaded ({type(error).__name__}: {text})"
