"""The engine on a GPU: pairs per second with several calls at once, beside sentence-transformers in one type.

Four shapes with random weights, made on the spot (`gpu_models.py`); the scores mean nothing, but both must
give about the same ones before anything is timed. Both get the same pairs. Counted is also what part of the
speed of a dense matrix product, measured here, is reached; and how many texts per second can be tokenised at
all, which bounds the engine however fast the device is. Results go to a JSON file. On a machine with a GPU
it takes some minutes; `--device cpu --tiny` tries it on any.
"""

import asyncio
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import click
import numpy as np
import torch
import transformers
from sentence_transformers import CrossEncoder

from benchmarks.engine import QUERY, make_texts
from benchmarks.gpu_models import SHAPES, build, flop
from benchmarks.hardware import describe, load_average
from rerank_proxy.engine import Engine
from rerank_proxy.settings import EngineSettings, ModelSettings

_PRECISIONS: Final[dict[str, Literal["fp32", "bf16", "fp16"]]] = {
    "float32": "fp32",
    "bfloat16": "bf16",
    "float16": "fp16",
}
_LONGEST: Final = 512
_GEMM: Final = {"cuda": 8192, "cpu": 512}
_GEMM_ROUNDS: Final = 20

Texts = Sequence[str]


class Peer:
    """sentence-transformers, which makes one call at a time."""

    def __init__(self, directory: Path, device: str, dtype: torch.dtype) -> None:
        self._model = CrossEncoder(
            str(directory), device=device, max_length=_LONGEST, model_kwargs={"dtype": dtype}
        )

    @property
    def parameters(self) -> int:
        """Return how many numbers the model has."""
        return sum(each.numel() for each in self._model.parameters())

    async def scores(self, texts: Texts) -> Sequence[float]:
        pairs = [(QUERY, text) for text in texts]
        identity = torch.nn.Identity()
        scores = self._model.predict(pairs, activation_fn=identity, show_progress_bar=False)
        return [float(score) for score in scores]


async def rate(score: Callable[[Texts], Awaitable[Any]], texts: Texts, at_once: int, seconds: float) -> float:
    """Return pairs per second of calls with these texts, so many at once, over at least `seconds`."""
    began, made = time.perf_counter(), 0

    async def caller() -> None:
        nonlocal made
        while time.perf_counter() - began < seconds:
            await score(texts)
            made += 1

    await asyncio.gather(*(caller() for _ in range(at_once)))
    return made * len(texts) / (time.perf_counter() - began)


def dense_flop_per_s(device: str, dtype: torch.dtype) -> float:
    """Return the speed of a large square matrix product: the median of several, after a first one."""
    size = _GEMM[torch.device(device).type]
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(_GEMM_ROUNDS):
        _finish(device)
        began = time.perf_counter()
        left @ right
        _finish(device)
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / statistics.median(seconds[1:])


def _finish(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def tokenised_per_s(directory: Path, seconds: float) -> float:
    """Return how many texts per second all cores tokenise."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory).backend_tokenizer
    tokenizer.no_padding()
    texts, done, began = make_texts(2000), 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        tokenizer.encode_batch_fast(texts)
        done += len(texts)
    return done / (time.perf_counter() - began)


async def measure(name: str, directory: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Measure one shape. Return its figures."""
    device, dtype = options["device"], getattr(torch, options["dtype"])
    config = build(name, directory, tiny=options["tiny"])
    texts = make_texts(options["window"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    pairs = tokenizer([QUERY] * len(texts), texts, max_length=_LONGEST, truncation=True)
    lengths = [len(ids) for ids in pairs["input_ids"]]
    settings = EngineSettings(
        device=device, precision=_PRECISIONS[options["dtype"]], cache_bytes=0, offline=True
    )
    model = ModelSettings(source=str(directory), truncation="longest_first", max_length=_LONGEST)
    engine = Engine({name: model}, settings)
    await engine.start()

    async def score(texts: Texts) -> Sequence[float]:
        # Calls at once with the same pairs would be scored once: each has a query of its own.
        return (await engine.scores(name, f"{QUERY} {next(numbers)}", texts)).values

    numbers = itertools.count()
    peer = Peer(directory, device, dtype)
    given = (await engine.scores(name, QUERY, texts)).values
    difference = float(np.abs(np.subtract(await peer.scores(texts), given)).max() / np.std(given))
    figures: dict[str, Any] = {
        "parameters": peer.parameters,
        "engine": engine.status()[name].detail,
        "largest_difference": difference,
        "mean_tokens": statistics.mean(lengths),
        "flop_per_pair": flop(config, lengths) / len(lengths),
        "tokenised_per_s": tokenised_per_s(directory, options["seconds"] / 4),
        "sentence_transformers": await rate(peer.scores, texts, 1, options["seconds"]),
    }
    for at_once in options["at_once"]:
        await rate(score, texts, at_once, options["seconds"] / 4)  # warms up
        figures[f"engine_at_{at_once}"] = await rate(score, texts, at_once, options["seconds"])
    await engine.close()
    return figures


def show(name: str, figures: dict[str, Any], dense: float) -> None:
    """Print the figures of a shape."""
    print(
        f"{name}: {figures['parameters'] / 1e6:.0f} M parameters, {figures['mean_tokens']:.0f} tokens a pair"
    )
    print(f"  {figures['engine']}")
    print(f"  scores differ by {figures['largest_difference']:.1e} of their standard deviation at most")
    print(f"  tokenising alone                {figures['tokenised_per_s']:10.0f} texts/s")
    for key, value in figures.items():
        if key.startswith(("engine_at", "sentence")):
            share = value * figures["flop_per_pair"] / dense
            print(f"  {key.replace('_', ' '):31} {value:10.1f} pairs/s, {share:6.1%} of a dense product")


@click.command()
@click.option("--device", default="cuda", show_default=True, help="As the setting engine.device.")
@click.option("--dtype", default="float16", show_default=True, help="As the setting engine.dtype.")
@click.option("--shape", "names", multiple=True, type=click.Choice([*SHAPES]), help="All by default.")
@click.option("--window", default=100, show_default=True, help="Texts of a call.")
@click.option("--at-once", multiple=True, default=(1, 16, 64), show_default=True, help="Calls at once.")
@click.option("--seconds", default=4.0, show_default=True, help="Of each measurement.")
@click.option("--tiny", is_flag=True, help="Small models of the same kinds, for a quick try.")
@click.option("--out", default="build/bench/gpu.json", show_default=True, type=click.Path(path_type=Path))
def main(names: tuple[str, ...], out: Path, **options: Any) -> None:
    """Measure the engine on a GPU."""
    device = options["device"]
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no GPU here; --device cpu --tiny tries the benchmark itself")
    dense = dense_flop_per_s(device, torch.bfloat16)
    print(f"{describe()}; {load_average()}; {options}")
    print(f"dense product in bfloat16: {dense / 1e12:.2f} TFLOP/s", flush=True)
    results: dict[str, Any] = {"hardware": describe(), "cores": os.cpu_count(), "settings": options}
    results |= {"dense_flop_per_s": dense, "shapes": {}}
    out.parent.mkdir(parents=True, exist_ok=True)
    for name in names or SHAPES:
        with tempfile.TemporaryDirectory() as directory:
            figures = asyncio.run(measure(name, Path(directory), options))
        results["shapes"][name] = figures
        show(name, figures, dense)
        out.write_text(json.dumps(results, indent=2))  # after each shape: a later one may fail
    print(f"the results are in {out}")


if __name__ == "__main__":
    main()
