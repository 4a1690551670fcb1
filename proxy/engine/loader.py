"""Loading models on other threads than the event loop's."""

import gc
import time
from contextlib import suppress
from typing import Final

import numpy as np

from proxy.settings import EngineSettings, ModelSettings

from .batch import Batch
from .daemon import run_in_daemon_thread
from .encode import gathered
from .errors import InputTooLargeError, ModelFailedError, ModelLoadError
from .runner import Runner
from .scoring import LoadedModel

_WARM_UP_TEXTS: Final = ("short", "warm up " * 300)
"""The second one is as long as a model of 512 tokens takes."""


class Loader:
    """Makes models ready for one device."""

    def __init__(self, settings: EngineSettings, runner: Runner) -> None:
        self._settings = settings
        self._runner = runner

    async def load(self, name: str, settings: ModelSettings) -> tuple[LoadedModel, float]:
        """The model, warmed up, and the seconds that it took.

        Raises:
            ModelFailedError: With one line that names the source. Its cause is the error below, unless that
                is a `ModelLoadError`, which says no more.
        """
        started = time.monotonic()
        try:
            loaded = await run_in_daemon_thread(
                lambda: _load(name, settings, self._settings), f"engine-load-{name}"
            )
            await self._runner.on_device(lambda: _warm_up(loaded))
        except ModelLoadError as error:
            raise ModelFailedError(_problem(settings, error)) from None
        except Exception as error:  # The process goes on, whatever the libraries below come up with.
            raise ModelFailedError(_problem(settings, error)) from error
        return loaded, time.monotonic() - started

    async def free(self) -> None:
        """Give back the memory of models that nobody refers to any more."""
        await self._runner.on_device(_free)


def _load(name: str, settings: ModelSettings, engine: EngineSettings) -> LoadedModel:
    # Imported on the loading thread: torch and transformers take seconds.
    from .load import load

    return load(name, settings, engine)


def _warm_up(loaded: LoadedModel) -> None:
    """Let the libraries below do what they do on first use, and see that the outputs are sane."""
    rows = gathered(loaded.scorer.encode("query", _WARM_UP_TEXTS[:1], range(loaded.scorer.texts_at + 1)))
    with suppress(InputTooLargeError):  # of a model whose texts must not be cut
        rows += gathered(loaded.scorer.encode("query", _WARM_UP_TEXTS[1:], [loaded.scorer.texts_at]))
    values = loaded.backend.score(Batch.of(rows))
    if loaded.info["kind"] == "cross-encoder" and values.shape[1:] != (1,):
        raise ModelLoadError(f"it gives {values.shape[1]} numbers for a text; a cross-encoder gives one")
    if not np.isfinite(values).all():
        raise ModelLoadError(
            f"it gives numbers that are not finite in {loaded.info['dtype']}; set engine.dtype to float32"
        )


def _free() -> None:
    import torch

    gc.collect()  # networks of transformers refer to themselves
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _problem(settings: ModelSettings, error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, ModelLoadError):
        return text if settings.source in text else f"[{settings.source}]: {text}"
    return f"[{settings.source}] cannot be loaded ({type(error).__name__}: {text})"
