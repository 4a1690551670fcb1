"""How long few texts wait behind many: as a part of the time of the many, and what that costs.

One engine, one model (a cross-encoder of MiniLM-L6's shape, see `benchmarks.engine`), ratios within one run.
Nothing is remembered. For each kind of texts, small requests come at the same time as a large one, or while
it runs; of the small ones' times the mean and the longest are printed, relative to the large one's. Then many
usual requests at once are compared with one that has all of their texts.
"""

import asyncio
import itertools
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from benchmarks.engine import MODEL, build_model
from benchmarks.hardware import describe
from benchmarks.words import sentence
from rerank_proxy.engine import Engine
from rerank_proxy.engine.backends.cpu import usable_cores
from rerank_proxy.settings import EngineSettings, ModelSettings

QUERY: Final = "house by the river"
FEW: Final = 5
WORDS: Final = {"short": (6, 6), "long": (270, 270), "mixed": (6, 270)}
"""Words of the texts, at least and at most: short ones have some 8 tokens, long ones 300."""
USUAL: Final = 16, 30
"""Requests and texts of each, of 20 to 200 words."""

_rng: Final = random.Random(1)


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds of the large request, and of the small ones beside it."""

    large_s: float
    small_s: Sequence[float]


class Bench:
    """Calls of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def call(self, texts: Sequence[str], after_s: float = 0.0) -> float:
        """Score the texts, and return the seconds that it took."""
        await asyncio.sleep(after_s)
        began = time.perf_counter()
        await self._engine.scores(MODEL, QUERY, texts)
        return time.perf_counter() - began

    async def behind(self, many: int, words: tuple[int, int], small: int, after_s: Sequence[float]) -> Waits:
        """Score a large request, and small ones that come so many seconds after it."""
        large = self.call(make_texts(many, words))
        few = [
            self.call(make_texts(FEW, words), after)
            for _, after in zip(range(small), itertools.cycle(after_s))
        ]
        large_s, *small_s = await asyncio.gather(large, *few)
        return Waits(large_s, small_s)

    async def throughput(self, rounds: int) -> float:
        """Return the rate of many usual requests at once, relative to that of a single one as large."""
        requests, each = USUAL
        ratios = []
        for _ in range(rounds):
            texts = [make_texts(each, (20, 200)) for _ in range(requests)]
            whole = await self.call([text + " again" for part in texts for text in part])
            began = time.perf_counter()
            await asyncio.gather(*(self.call(part) for part in texts))
            ratios.append(whole / (time.perf_counter() - began))
        return statistics.median(ratios)


def make_texts(count: int, words: tuple[int, int]) -> list[str]:
    """Make texts with so many words, at least and at most."""
    return [sentence(_rng, _rng.randint(*words)) for _ in range(count)]


async def bench(directory: Path, threads: int, many: int, rounds: int, kinds: Sequence[str]) -> None:
    settings = EngineSettings(precision="fp32", threads=threads, cache_bytes=0, offline=True)
    engine = Engine({MODEL: ModelSettings(source=str(directory), truncation="longest_first")}, settings)
    await engine.start()
    calls = Bench(engine)
    await calls.call(make_texts(50, (20, 200)))
    print(f"engine: {engine.status()[MODEL].detail}")
    print(f"{'texts':8}{'small requests':26}{'large s':>9}{'mean small':>12}{'longest':>10}")
    for kind in kinds:
        words = WORDS[kind]
        alone_s = await calls.call(make_texts(many, words))
        print(f"{kind:8}{'none':26}{alone_s:9.2f}")
        for small in (1, 10):
            cases = {"at once": [0.0], "meanwhile": [alone_s * (at + 1) / 8 for at in range(5)]}
            for name, after_s in cases.items():
                waits = [await calls.behind(many, words, small, after_s) for _ in range(rounds)]
                parts = [small_s / each.large_s for each in waits for small_s in each.small_s]
                large_s = statistics.median(each.large_s for each in waits)
                shown = f"{small} of {FEW} texts, {name}"
                print(
                    f"{kind:8}{shown:26}{large_s:9.2f}{statistics.mean(parts):12.1%}{max(parts):10.1%}",
                    flush=True,
                )
    requests, each = USUAL
    ratio = await calls.throughput(rounds)
    print(f"{requests} x {each} texts at once, relative to 1 x {requests * each}: {ratio:.1%}")
    await engine.close()


@click.command()
@click.option("--rounds", default=3, show_default=True, help="Times that each case is measured.")
@click.option("--texts", default=1000, show_default=True, help="Texts of the large request.")
@click.option("--threads", default=0, help="CPU threads; 0: the cores that the process may use.")
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice([*WORDS]), help="Kinds of texts; all of them."
)
def main(rounds: int, texts: int, threads: int, kinds: tuple[str, ...]) -> None:
    """Measure how long small requests wait for a large one."""
    threads = threads or usable_cores()
    print(describe())
    print(f"{FEW} texts behind {texts}, {rounds} rounds, float32, {threads} threads")
    with tempfile.TemporaryDirectory() as directory:
        build_model(Path(directory))
        asyncio.run(bench(Path(directory), threads, texts, rounds, kinds or [*WORDS]))


if __name__ == "__main__":
    main()
