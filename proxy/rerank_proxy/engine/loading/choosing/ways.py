"""The ways in which a network of transformers can run on a device, by precision. Imports torch."""

import time
from collections.abc import Callable
from functools import cache, partial

import torch

from rerank_proxy.engine.backends.cpu import has_bfloat16
from rerank_proxy.engine.backends.networks import Classifier, Encoder
from rerank_proxy.engine.backends.packed import PackedTorchBackend
from rerank_proxy.engine.backends.packed.reduced import BFloat16, Float16, Int8, best_engine
from rerank_proxy.engine.backends.protocol import Backend
from rerank_proxy.engine.encoding.scorers import Scorer
from rerank_proxy.engine.encoding.tokenizer import Tokenizer
from rerank_proxy.engine.loading.building.networks import Network, lowered
from rerank_proxy.engine.loading.choosing.backend_choice import choose_backend
from rerank_proxy.engine.loading.choosing.precision import Precision, Ways


def ways_to_run(
    network: Network, place: torch.device, tokenizer: Tokenizer, scorer: Scorer, batch_threads: int = 1
) -> Ways:
    """Return the ways to run a network that is on the CPU, in float32, by torch.

    On CPUs, networks that run without padding have linear layers in a lower precision; of all others, and on
    GPUs, the whole body is in it, and the head stays in float32.

    Args:
        batch_threads: CPU threads of a batch.
    """

    def choose(network: Network) -> Backend:
        return choose_backend(network.to(place), place, tokenizer, scorer)

    halves: dict[Precision, Callable[[], Backend]] = {
        "bf16": lambda: choose(lowered(network, torch.bfloat16)),
        "fp16": lambda: choose(lowered(network, torch.float16)),
    }
    if place.type != "cpu":
        exact: Callable[[], Backend] = cache(lambda: choose(network))
        usual: Precision = "fp16" if place.type == "cuda" else "fp32"
        return Ways({"fp32": exact, **halves}, ("fp16", "bf16"), usual, time.perf_counter)
    backend = choose(network)
    if not isinstance(backend, PackedTorchBackend) or not isinstance(network, Classifier | Encoder):
        return Ways({"fp32": lambda: backend, **halves})
    packed: Classifier | Encoder = network
    build: dict[Precision, Callable[[], Backend]] = {
        "fp32": lambda: backend,
        "int8": lambda: PackedTorchBackend(packed, partial(Int8, engine=best_engine(batch_threads))),
        "bf16": lambda: PackedTorchBackend(packed, BFloat16),
        "fp16": lambda: PackedTorchBackend(packed, Float16),
    }
    measured: tuple[Precision, ...] = ("int8", "bf16") if has_bfloat16() else ("int8",)
    return Ways(build, measured)
