"""Loading models on other threads than the event loop's."""

import gc
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Final

import numpy as np

from rerank_proxy.engine.batching.batch import Batch
from rerank_proxy.engine.batching.runner import Runner
from rerank_proxy.engine.batching.watchdog import Watchdog
from rerank_proxy.engine.encoding.encode import gathered
from rerank_proxy.engine.encoding.scorers import LoadedModel
from rerank_proxy.engine.errors import (
    InputTooLargeError,
    ModelFailedError,
    ModelLoadError,
    advice_for_numbers,
)
from rerank_proxy.engine.loading.daemon import run_in_daemon_thread
from rerank_proxy.observe.log import flattened
from rerank_proxy.settings import EngineSettings, ModelSettings

_LONGEST_PROBLEM: Final = 1000
"""Characters."""

_WARM_UP_TEXTS: Final = ("short", "warm up " * 300)
"""The second one is as long as a model of 512 tokens takes."""


Watch = Callable[[], AbstractContextManager[None]]
"""Has the watchdog look at what is done within."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that can score, and what is known of its speed."""

    model: LoadedModel
    seconds: float
    """That loading took."""
    pace_s: float
    """Seconds per token."""


class Loader:
    """Makes models ready for one device."""

    def __init__(self, settings: EngineSettings, runner: Runner, watchdog: Watchdog) -> None:
        self._settings = settings
        self._runner = runner
        self._watchdog = watchdog

    async def load(self, name: str, settings: ModelSettings) -> Loaded:
        """The model, warmed up.

        Raises:
            ModelFailedError: With one line that names the source. Its cause is the error below, unless that
                is a `ModelLoadError`, which says no more.
        """
        started = time.monotonic()
        try:
            loaded = await run_in_daemon_thread(
                lambda: _load(name, settings, self._settings, lambda: self._watchdog.load(name)),
                f"engine-load-{name}",
            )
            pace_s = await self._runner.on_device(lambda: self._warm_up(name, loaded))
        except ModelLoadError as error:
            raise ModelFailedError(_problem(settings, error)) from None
        except Exception as error:  # The process goes on, whatever the libraries below come up with.
            raise ModelFailedError(_problem(settings, error)) from error
        return Loaded(loaded, time.monotonic() - started, pace_s)

    async def free(self) -> None:
        """Give back the memory of models that nobody refers to any more."""
        await self._runner.on_device(_free)

    def _warm_up(self, name: str, loaded: LoadedModel) -> float:
        with self._watchdog.load(name):
            pace_s = _warm_up(loaded)
        # Hundreds of thousands of objects came with the libraries. They stay, and the collector, which holds
        # up all threads while it goes through them, need not do so again and again.
        gc.freeze()
        return pace_s


def _load(name: str, settings: ModelSettings, engine: EngineSettings, watch: Watch) -> LoadedModel:
    # Imported on the loading thread: torch and transformers take seconds.
    from rerank_proxy.engine.loading.load import load

    return load(name, settings, engine, watch)


def _warm_up(loaded: LoadedModel) -> float:
    """Let the libraries below do what they do on first use, and see that the outputs are sane.

    Returns:
        Seconds per token.
    """
    rows = gathered(loaded.scorer.encode("query", _WARM_UP_TEXTS[:1], range(loaded.scorer.texts_at + 1)))
    with suppress(InputTooLargeError):  # of a model whose texts must not be cut
        rows += gathered(loaded.scorer.encode("query", _WARM_UP_TEXTS[1:], [loaded.scorer.texts_at]))
    batch = Batch.of(rows)
    started = time.perf_counter()
    values = loaded.backend.score(batch)
    pace_s = (time.perf_counter() - started) / batch.padded_tokens
    if loaded.info["kind"] == "cross-encoder" and values.shape[1:] != (1,):
        raise ModelLoadError(f"it gives {values.shape[1]} numbers for a text; a cross-encoder gives one")
    if not np.isfinite(values).all():
        raise ModelLoadError(
            f"it gives numbers that are not finite in {loaded.info['dtype']}; "
            f"{advice_for_numbers(loaded.info['dtype'])}"
        )
    return pace_s


def _free() -> None:
    import torch

    gc.unfreeze()
    gc.collect()  # networks of transformers refer to themselves
    gc.freeze()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _problem(settings: ModelSettings, error: Exception) -> str:
    """One line of printable characters: names and texts of a model's files may be in it."""
    text = flattened(str(error))
    if len(text) > _LONGEST_PROBLEM:
        text = f"{text[:_LONGEST_PROBLEM]} …"
    if isinstance(error, ModelLoadError):
        return text if settings.source in text else f"[{settings.source}]: {text}"
    return f"[{settings.source}] cannot be loaded ({type(error).__name__}: {text})"
