"""What a text costs by the size of the model and by its own length: processor time, on one thread.

That is what `rank_window_size` is multiplied by, so it tells how long a search takes on so many cores. Models
are of the shapes of published ones, with random weights, which cost the same.
"""

import asyncio
import random
import tempfile
import time
from pathlib import Path
from typing import Final

import click

from benchmarks.gpu_models import SHAPES, build
from benchmarks.hardware import describe, load_average
from benchmarks.words import sentence
from rerank_proxy.engine import Engine
from rerank_proxy.settings import EngineSettings, ModelSettings

QUERY: Final = "a long way home"
_NAMES: Final = tuple(name for name in SHAPES if name != "qwen3-0.6b")
_MODEL: Final = "sized"


async def measure(directory: Path, words: int, count: int, rounds: int) -> float:
    """Return the least processor time for a text of so many words, in milliseconds."""
    settings = EngineSettings(device="cpu", threads=1, workers=1, cache_bytes=0, offline=True)
    engine = Engine({_MODEL: ModelSettings(source=str(directory), max_length=512)}, settings)
    await engine.start()
    rng = random.Random(words)
    texts = [sentence(rng, words) for _ in range(count)]
    await engine.scores(_MODEL, QUERY, texts[:2])
    best = float("inf")
    for _ in range(rounds):
        before = time.process_time()
        await engine.scores(_MODEL, QUERY, texts)
        best = min(best, time.process_time() - before)
    await engine.close()
    return best / count * 1000


@click.command()
@click.option("--model", "models", multiple=True, type=click.Choice(_NAMES), default=_NAMES)
@click.option("--words", multiple=True, default=(20, 100, 300), show_default=True, help="Lengths of texts.")
@click.option("--count", default=8, show_default=True, help="Texts of a call.")
@click.option("--rounds", default=3, show_default=True, help="Of which the least counts.")
def main(models: tuple[str, ...], words: tuple[int, ...], count: int, rounds: int) -> None:
    """Measure what a text costs."""
    print(f"{describe()}; {load_average()}; {count} texts in a call, the least of {rounds} rounds, fp32")
    print(f"| model | {' | '.join(f'{each} words' for each in words)} |")
    print(f"| --- | {' | '.join('---:' for _ in words)} |")
    for name in models:
        with tempfile.TemporaryDirectory() as directory:
            build(name, Path(directory), tiny=False)
            cells = [asyncio.run(measure(Path(directory), each, count, rounds)) for each in words]
        print(f"| {name} | {' | '.join(f'{each:.1f} ms' for each in cells)} |", flush=True)


if __name__ == "__main__":
    main()
