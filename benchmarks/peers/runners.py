"""Score texts with one peer, as lines of JSON on standard input ask for.

This file is run by the interpreter of the peer's own environment, so it imports nothing of the project but,
for the engine itself, `rerank_proxy`. Arguments: the peer's name, the directory of the model, and the number
of cores. The first line that it writes says its version; a line that it reads is
`{"query": …, "calls": [[texts], …]}`, calls that come at the same time; the answer has the scores and seconds
of each call, and the processor time of the process.
"""

import asyncio
import json
import math
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal

RULES: Final = {
    "engine": "no padding",
    "engine-int8": "no padding",
    "sentence-transformers": "sorted by characters, 32 texts to a batch, padded to its longest",
    "onnxruntime": "sorted by tokens, 2048 padded tokens to a batch",
    "onnxruntime-int8": "sorted by tokens, 2048 padded tokens to a batch",
    "openvino": "sorted by tokens, 2048 padded tokens to a batch",
    "flashrank": "one batch for a call, padded to its longest",
    "infinity": "sorted by tokens, 32 texts to a batch, padded to its longest",
}
"""How each pads."""

BUDGET_TOKENS: Final = 2048
LONGEST: Final = 512
ONNX: Final = "model.onnx"
ONNX_INT8: Final = "model-int8.onnx"

Score = Callable[[str, Sequence[str]], Awaitable[list[float]]]
Run = Callable[[dict[str, Any]], Any]


def _in_turn(score: Callable[[str, Sequence[str]], list[float]]) -> Score:
    """Make the calls of a peer that takes one at a time wait for each other."""

    async def scores(query: str, texts: Sequence[str]) -> list[float]:
        return score(query, texts)

    return scores


def _engine(precision: Literal["fp32", "int8"]) -> Callable[[Path, int], Awaitable[Score]]:
    async def load(directory: Path, cores: int) -> Score:
        from rerank_proxy.engine import Engine
        from rerank_proxy.settings import EngineSettings, ModelSettings

        settings = EngineSettings(
            device="cpu", precision=precision, threads=cores, cache_bytes=0, offline=True
        )
        running = Engine({"m": ModelSettings(source=str(directory), truncation="longest_first")}, settings)
        await running.start()

        async def score(query: str, texts: Sequence[str]) -> list[float]:
            return list((await running.scores("m", query, texts)).values)

        return score

    return load


async def sentence_transformers(directory: Path, cores: int) -> Score:
    import torch
    from sentence_transformers import CrossEncoder

    torch.set_num_threads(cores)
    model = CrossEncoder(str(directory), device="cpu", max_length=LONGEST)
    identity = torch.nn.Identity()

    def score(query: str, texts: Sequence[str]) -> list[float]:
        pairs = [(query, text) for text in texts]
        scores: list[float] = model.predict(pairs, activation_fn=identity, show_progress_bar=False).tolist()
        return scores

    return _in_turn(score)


def _budgeted(directory: Path, run: Run) -> Score:
    """Sort by tokens, cut into batches of a budget, and run each."""
    import numpy as np
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)

    def score(query: str, texts: Sequence[str]) -> list[float]:
        rows = tokenizer.encode_batch([(query, text) for text in texts])
        order = sorted(range(len(rows)), key=lambda at: -len(rows[at].ids))
        scores = [0.0] * len(rows)
        start = 0
        while start < len(order):
            longest = len(rows[order[start]].ids)
            batch = order[start : start + max(1, BUDGET_TOKENS // longest)]
            start += len(batch)
            arrays = {name: np.zeros((len(batch), longest), np.int64) for name in _inputs()}
            for place, at in enumerate(batch):
                given = (rows[at].ids, rows[at].attention_mask, rows[at].type_ids)
                for name, values in zip(_inputs(), given, strict=True):
                    arrays[name][place, : len(values)] = values
            for at, value in zip(batch, np.asarray(run(arrays)).ravel().tolist(), strict=True):
                scores[at] = value
        return scores

    return _in_turn(score)


def _inputs() -> tuple[str, str, str]:
    return "input_ids", "attention_mask", "token_type_ids"


def _onnxruntime(file: str) -> Callable[[Path, int], Awaitable[Score]]:
    async def load(directory: Path, cores: int) -> Score:
        onnxruntime = import_module("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = cores
        session = onnxruntime.InferenceSession(
            str(directory / file), options, providers=["CPUExecutionProvider"]
        )
        return _budgeted(directory, lambda arrays: session.run(None, arrays)[0])

    return load


async def openvino(directory: Path, cores: int) -> Score:
    ov = import_module("openvino")
    model = ov.Core().compile_model(
        str(directory / ONNX),
        "CPU",
        {"INFERENCE_NUM_THREADS": cores, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"},
    )
    return _budgeted(directory, lambda arrays: model(arrays)[0])


async def flash_rank(directory: Path, cores: int) -> Score:
    """FlashRank, which knows models by name and has one session with its own settings."""
    flashrank = import_module("flashrank")
    name = directory.name
    import_module("flashrank.Config").model_file_map[name] = ONNX
    ranker = flashrank.Ranker(name, cache_dir=str(directory.parent), max_length=LONGEST, log_level="ERROR")

    def score(query: str, texts: Sequence[str]) -> list[float]:
        passages = [{"id": at, "text": text} for at, text in enumerate(texts)]
        scores = {
            each["id"]: each["score"] for each in ranker.rerank(flashrank.RerankRequest(query, passages))
        }
        # It applies a sigmoid.
        return [math.log(float(scores[at]) / (1 - float(scores[at]))) for at in range(len(texts))]

    return _in_turn(score)


async def infinity(directory: Path, cores: int) -> Score:
    import torch

    library = import_module("infinity_emb")
    torch.set_num_threads(cores)
    running = library.AsyncEmbeddingEngine.from_args(
        library.EngineArgs(
            model_name_or_path=str(directory),
            engine="torch",
            device="cpu",
            dtype="float32",
            bettertransformer=False,
            model_warmup=False,
        )
    )
    await running.astart()

    async def score(query: str, texts: Sequence[str]) -> list[float]:
        ranked, _ = await running.rerank(query=query, docs=list(texts), raw_scores=True)
        scores = {each.index: float(each.relevance_score) for each in ranked}
        return [scores[at] for at in range(len(texts))]

    return score


LOADERS: Final[Mapping[str, tuple[Callable[[Path, int], Awaitable[Score]], str]]] = {
    "engine": (_engine("fp32"), "torch"),
    "engine-int8": (_engine("int8"), "torch"),
    "sentence-transformers": (sentence_transformers, "sentence-transformers"),
    "onnxruntime": (_onnxruntime(ONNX), "onnxruntime"),
    "onnxruntime-int8": (_onnxruntime(ONNX_INT8), "onnxruntime"),
    "openvino": (openvino, "openvino"),
    "flashrank": (flash_rank, "flashrank"),
    "infinity": (infinity, "infinity-emb"),
}
"""Loaders by name, and the package whose version is shown."""


async def serve(name: str, directory: Path, cores: int, answers: int) -> None:
    """Answer lines until there are no more."""
    load, package = LOADERS[name]
    score = await load(directory, cores)
    _write(answers, {"version": f"{package} {version(package)}"})
    while line := sys.stdin.readline():
        asked = json.loads(line)
        cpu, began = time.process_time(), time.perf_counter()

        async def timed(texts: Sequence[str], began: float = began) -> tuple[list[float], float]:
            scores = await score(asked["query"], texts)  # noqa: B023 - awaited within the turn
            return scores, time.perf_counter() - began

        done = await asyncio.gather(*(timed(texts) for texts in asked["calls"]))
        wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
        scores, seconds = zip(*done, strict=True)
        _write(answers, {"scores": scores, "seconds": seconds, "wall_s": wall_s, "cpu_s": cpu_s})


def _write(answers: int, answer: Mapping[str, Any]) -> None:
    os.write(answers, json.dumps(answer).encode() + b"\n")


def main() -> None:
    name, directory, cores = sys.argv[1:]
    answers = os.dup(1)
    os.dup2(2, 1)  # libraries print, too
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
    asyncio.run(serve(name, Path(directory), int(cores), answers))


if __name__ == "__main__":
    main()
