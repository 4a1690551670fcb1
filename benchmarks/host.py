"""What a text costs beside the model: tokenising, the queue and the rest, with a model that costs nothing.

On a fast device this bounds the engine. Tokenising runs on as many cores as there are. What Python does for a
text runs on one at a time, as it needs the interpreter's lock; so its processor time tells how many texts per
second one process can score, however fast the device is.
"""

import asyncio
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from unittest.mock import patch

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.engine import QUERY, make_texts
from benchmarks.gpu_models import build
from benchmarks.hardware import describe, load_average
from rerank_proxy.engine import Engine
from rerank_proxy.engine.backends.packed import PackedTorchBackend
from rerank_proxy.engine.rows import Batch
from rerank_proxy.settings import EngineSettings, ModelSettings

_MODEL: Final = "nothing"
_BUDGET_TOKENS: Final = 16384
"""Of a batch on a GPU."""


@contextmanager
def costs_nothing() -> Iterator[None]:
    """Have models answer at once."""

    def score(self: PackedTorchBackend, batch: Batch) -> NDArray[np.float32]:
        return np.zeros((len(batch), 1), np.float32)

    with patch.object(PackedTorchBackend, "score", score):
        yield


def seconds_of_threads() -> float:
    """Return the processor time of all threads that Python has started."""
    clocks = [time.pthread_getcpuclockid(each.ident) for each in threading.enumerate() if each.ident]
    return sum(map(time.clock_gettime, clocks))


async def measure(directory: Path, count: int, window: int, at_once: int) -> tuple[float, float]:
    """Return the microseconds of processor time for a text: of everything, and of Python's threads."""
    settings = EngineSettings(device="cpu", cache_bytes=0, budget_tokens=_BUDGET_TOKENS, offline=True)
    engine = Engine({_MODEL: ModelSettings(source=str(directory), max_length=512)}, settings)
    await engine.start()
    await engine.scores(_MODEL, QUERY, ["a text"])
    texts = make_texts(count)
    calls = iter(range(0, count, window))

    async def caller() -> None:
        for start in calls:
            await engine.scores(_MODEL, QUERY, texts[start : start + window])

    with costs_nothing():
        all_s, python_s = time.process_time(), seconds_of_threads()
        await asyncio.gather(*(caller() for _ in range(at_once)))
        all_s, python_s = time.process_time() - all_s, seconds_of_threads() - python_s
    await engine.close()
    return all_s / count * 1e6, python_s / count * 1e6


@click.command()
@click.option("--count", default=12_000, show_default=True, help="Texts of a measurement.")
@click.option("--window", default=100, show_default=True, help="Texts of a call.")
@click.option("--at-once", multiple=True, default=(1, 16), show_default=True, help="Calls at once.")
def main(count: int, window: int, at_once: tuple[int, ...]) -> None:
    """Measure what a text costs beside the model."""
    print(f"{describe()}; {load_average()}; texts of 20 to 200 words, {window} in a call")
    with tempfile.TemporaryDirectory() as directory:
        build("minilm-l6", Path(directory), tiny=True)
        for calls in at_once:
            everything, python = asyncio.run(measure(Path(directory), count, window, calls))
            print(
                f"{calls:3} at once: {everything:6.1f} µs of processor time for a text, {python:5.1f} of it "
                f"on Python's threads: at most some {1e6 / python:,.0f} texts/s"
            )


if __name__ == "__main__":
    main()
