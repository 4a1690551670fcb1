"""The command `python -m benchmarks.peers`."""

import random
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click
import numpy as np
import transformers

from benchmarks.chart import Chart, picture
from benchmarks.engine import QUERY, build_model, make_texts
from benchmarks.hardware import describe, load_average
from benchmarks.peers.peak import Shape, gemm_flop_per_s
from benchmarks.peers.prepare import export
from benchmarks.peers.processes import ENVIRONMENT_OF, Peer, PeerError, start_all
from benchmarks.peers.runners import LONGEST, RULES
from rerank_proxy.engine.backends.cpu import usable_cores

LARGEST_DIFFERENCE: Final = {"engine-int8": 10.0, "onnxruntime-int8": 10.0, "flashrank": 1e-2}
"""Of a logit; of the others it is 1e-3. int8 is another precision, and FlashRank's sigmoid rounds."""


@dataclass(slots=True)
class Timing:
    """Rounds of one peer in one case."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Comparison:
    """Peers, timed in turn."""

    peers: Sequence[Peer]
    rounds: int

    def check(self, texts: Sequence[str]) -> list[Peer]:
        """Return the peers whose scores are those of the first one; say by how much all differ."""
        (expected,) = self.peers[0].score(QUERY, [texts]).scores
        agree = []
        for peer in self.peers:
            (scores,) = peer.score(QUERY, [texts]).scores
            difference = float(np.abs(np.subtract(scores, expected)).max())
            top = len(set(_best(scores)) & set(_best(expected)))
            print(f"{peer.name:24}{peer.version:32}{difference:10.1e}{top:8d}/10  {RULES[peer.name]}")
            if difference <= LARGEST_DIFFERENCE.get(peer.name, 1e-3):
                agree.append(peer)
            else:
                print(f"left out: {peer.name}, whose scores are others")
        return agree

    def time(self, calls: Sequence[Sequence[str]]) -> dict[str, Timing]:
        """Time calls that come at the same time, in another order each round."""
        timings = {peer.name: Timing() for peer in self.peers}
        for number in range(self.rounds + 1):
            order = list(self.peers)
            random.Random(number).shuffle(order)
            for peer in order:
                answer = peer.score(QUERY, calls)
                if number:  # the first round warms up
                    timings[peer.name].wall_s.append(answer.wall_s)
                    timings[peer.name].cpu_s.append(answer.cpu_s)
                    timings[peer.name].latencies_s += answer.seconds
        return timings


def _best(scores: Sequence[float]) -> list[int]:
    return sorted(range(len(scores)), key=lambda at: -scores[at])[:10]


def by_window(comparison: Comparison, windows: Sequence[int], directory: Path, peak: float) -> Chart:
    """Time calls of each size one by one. Print and return texts per second."""
    tokenizer, shape = transformers.AutoTokenizer.from_pretrained(directory), Shape.of(directory)
    lines: dict[str, list[tuple[float, float]]] = {peer.name: [] for peer in comparison.peers}
    print(f"{'window':>8} {'':24}{'texts/s':>10}{'CPU ms/text':>13}{'engine is x':>13}{'of GEMM, CPU':>14}")
    for window in windows:
        texts = make_texts(window)
        lengths = [len(ids) for ids in tokenizer([QUERY] * window, texts, max_length=LONGEST)["input_ids"]]
        timings = comparison.time([texts])
        own = timings[comparison.peers[0].name]
        for name, timing in timings.items():
            wall_s = statistics.median(timing.wall_s)
            ratio = statistics.median(t / o for t, o in zip(timing.wall_s, own.wall_s, strict=True))
            cpu_ms = 1000 * statistics.median(timing.cpu_s) / window
            share = shape.flop(lengths) / min(timing.cpu_s) / peak
            print(f"{window:8d} {name:24}{window / wall_s:10.1f}{cpu_ms:13.2f}{ratio:13.2f}{share:14.0%}")
            lines[name].append((window, window / wall_s))
    return Chart("Texts per second", "texts of a call", lines)


def by_concurrency(comparison: Comparison, numbers: Sequence[int], window: int) -> Chart:
    """Time several calls at once. Print and return percentiles of their latencies."""
    lines: dict[str, list[tuple[float, float]]] = {}
    print(f"{'at once':>8} {'':24}{'p50 ms':>10}{'p95 ms':>10}{'texts/s':>10}{'CPU ms/text':>13}")
    for number in numbers:
        texts = make_texts(number * window)
        timings = comparison.time([texts[at::number] for at in range(number)])
        for name, timing in timings.items():
            p50, p95 = (1000 * float(np.percentile(timing.latencies_s, at)) for at in (50, 95))
            rate = len(texts) / statistics.median(timing.wall_s)
            cpu_ms = 1000 * statistics.median(timing.cpu_s) / len(texts)
            print(f"{number:8d} {name:24}{p50:10.0f}{p95:10.0f}{rate:10.1f}{cpu_ms:13.2f}")
            lines.setdefault(name, []).append((number, p50))
            lines.setdefault(f"{name}…", []).append((number, p95))
    return Chart(f"Latency in ms of {window} texts: p50, and p95 dashed", "calls at once", lines)


def numbers(_context: click.Context, _parameter: click.Parameter, value: str) -> list[int]:
    """Read numbers with commas between them."""
    return [int(part) for part in value.split(",")]


@click.command()
@click.option("--rounds", default=7, show_default=True, help="Times that each peer is timed in a case.")
@click.option("--windows", default="10,30,100", show_default=True, callback=numbers, help="Texts of a call.")
@click.option("--at-once", default="1,4,16", show_default=True, callback=numbers, help="Calls at once.")
@click.option("--window", default=30, show_default=True, help="Texts of each of several calls at once.")
@click.option("--cores", default=0, help="Cores of each peer; 0: those that the process may use.")
@click.option("--peer", "names", multiple=True, type=click.Choice([*ENVIRONMENT_OF]), help="All by default.")
@click.option("--picture", "path", type=click.Path(path_type=Path), help="Write the charts to this SVG.")
def main(
    rounds: int,
    windows: list[int],
    at_once: list[int],
    window: int,
    cores: int,
    names: tuple[str, ...],
    path: Path | None,
) -> None:
    """Compare the engine with other ways to run the same model."""
    cores = cores or usable_cores()
    print(describe())
    print(f"float32 but for int8, {cores} cores each, {rounds} rounds in turn; {load_average()}")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        directory = Path(name) / "minilm"
        build_model(directory)
        try:
            export(directory)
        except PeerError as error:
            print(f"left out: all that read ONNX ({error})")
        wanted = list(dict.fromkeys(["engine", *(names or ENVIRONMENT_OF)]))
        peers = start_all(wanted, directory, cores, stack)
        print(f"{'':24}{'':32}{'differs by':>10}{'top 10':>11}")
        comparison = Comparison(peers, rounds)
        comparison.peers = comparison.check(make_texts(max(windows)))
        peak = gemm_flop_per_s(Shape.of(directory))
        print(f"GEMM peak of a core, for the model's shapes: {peak / 1e9:.0f} GFLOP/s")
        charts = [
            by_window(comparison, windows, directory, peak),
            by_concurrency(comparison, at_once, window),
        ]
    note = f"{describe().partition(', Python')[0]}; {cores} cores each; {load_average()}"
    print(load_average())
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(picture(charts, note))
        print(f"the charts are in {path}")


if __name__ == "__main__":
    main()
