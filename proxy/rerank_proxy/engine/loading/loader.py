"""Load models on other threads than the event loop's."""

import asyncio
import gc
import sys
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from rerank_proxy.concurrency.daemon_threads import run_in_daemon_thread
from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.engine.backends.host_memory import give_back_to_system
from rerank_proxy.engine.errors import ModelFailedError, ModelLoadError
from rerank_proxy.engine.hangs.watchdog import Watchdog
from rerank_proxy.engine.loading.choose import load
from rerank_proxy.engine.loading.loaded_model import LoadedModel, warm_up
from rerank_proxy.engine.loading.sources.offline import restrain_libraries
from rerank_proxy.observe.log_lines import flattened
from rerank_proxy.settings import EngineSettings, ModelSettings

_LONGEST_PROBLEM: Final = 1000
"""Characters."""

_T = TypeVar("_T")

Watch = Callable[[], AbstractContextManager[None]]
"""Have the watchdog watch what is done within."""

TakeMemory = Callable[[int], Coroutine[Any, Any, None]]
"""Wait until there is room for so many bytes."""


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
        restrain_libraries(offline=settings.offline)
        self._settings = settings
        self._on_device = on_device
        self._watchdog = watchdog
        self._taking = BackgroundTasks()
        self._waiting_free: object | None = None

    async def load(self, name: str, settings: ModelSettings, take_memory: TakeMemory) -> WarmModel:
        """Load a model and warm it up.

        Args:
            take_memory: Called once, before there is anything in memory, with the bytes that it will take.

        Raises:
            ModelFailedError: With one line that names the source. Its cause is the underlying error, unless
                that is a `ModelLoadError`, which says no more.
        """
        started = time.monotonic()
        wait_for_memory = self._for_threads(take_memory)
        try:
            loaded = await run_in_daemon_thread(
                lambda: _load(
                    name, settings, self._settings, lambda: self._watchdog.load(name), wait_for_memory
                ),
                f"engine-load-{name}",
            )
            pace_s = await self._on_device(lambda: self._warm_up(name, loaded))
        except ModelLoadError as error:
            raise ModelFailedError(_problem(settings, error)) from None
        except Exception as error:  # The process goes on, no matter what the libraries raise.
            raise ModelFailedError(_problem(settings, error)) from error
        return WarmModel(loaded, time.monotonic() - started, pace_s)

    async def free(self) -> None:
        """Give back the memory of models to which nothing refers any more.

        Where that is still to begin for an earlier call, it is done for this one too: it takes tenths of a
        second, in which the garbage collector stops all threads, and models often go several at a time.
        """
        if self._waiting_free is not None:
            return
        this = self._waiting_free = object()

        def free() -> None:
            self._begin_free(this)
            _free()

        try:
            await self._on_device(free)
        finally:
            self._begin_free(this)

    def _begin_free(self, this: object) -> None:
        """Note that what is dropped from now on may come too late for this one, unless a later one waits."""
        if self._waiting_free is this:
            self._waiting_free = None

    def _for_threads(self, take_memory: TakeMemory) -> Callable[[int], None]:
        """Return a function for other threads that waits until the event loop has taken the memory."""
        loop = asyncio.get_running_loop()

        def wait(size_bytes: int) -> None:
            taken: Future[None] = Future()

            async def take() -> None:
                try:
                    await take_memory(size_bytes)
                except BaseException as error:  # passed on to the thread that waits
                    taken.set_exception(error)
                else:
                    taken.set_result(None)

            # Made there: a coroutine that a closed loop refuses would have to be closed here.
            loop.call_soon_threadsafe(lambda: self._taking.start(take()))
            taken.result()

        return wait

    def _warm_up(self, name: str, loaded: LoadedModel) -> float:
        with self._watchdog.load(name):
            pace_s = warm_up(loaded)
        # Hundreds of thousands of objects came with the libraries. They stay, and the garbage collector,
        # which stops all threads while it goes through them, need not do so again and again.
        gc.freeze()
        give_back_to_system()  # what loading took beside the model
        return pace_s


def _load(
    name: str,
    settings: ModelSettings,
    engine: EngineSettings,
    watch: Watch,
    wait_for_memory: Callable[[int], None],
) -> LoadedModel:
    return load(name, settings, engine, watch, wait_for_memory)


def _free() -> None:
    gc.unfreeze()
    gc.collect()  # networks of transformers refer to themselves
    gc.freeze()
    # Not there where no model runs on torch, and not yet whole while another thread imports it.
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is not None and cuda.is_available():
        cuda.empty_cache()
    give_back_to_system()


def _problem(settings: ModelSettings, error: Exception) -> str:
    """Return one line of printable characters: names and texts of a model's files may be in it."""
    text = flattened(str(error))
    if len(text) > _LONGEST_PROBLEM:
        text = f"{text[:_LONGEST_PROBLEM]} …"
    if isinstance(error, ModelLoadError):
        return text if settings.source in text else f"[{settings.source}]: {text}"
    return f"[{settings.source}] cannot be loaded ({type(error).__name__}: {text})"
