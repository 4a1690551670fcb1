"""The ways in which a network of transformers can run on a device, by precision. Imports torch."""

import copy
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from rerank_proxy.engine.backends.cpu import has_bfloat16
from rerank_proxy.engine.backends.networks import Classifier, Encoder
from rerank_proxy.engine.backends.packed import PackedTorchBackend, probe_tokens, supports
from rerank_proxy.engine.backends.packed.reduced import BFloat16, Float16, Int8
from rerank_proxy.engine.backends.padded import PaddedTorchBackend
from rerank_proxy.engine.backends.protocol import Backend
from rerank_proxy.engine.encoding.encode import gathered
from rerank_proxy.engine.encoding.scorers import Scorer
from rerank_proxy.engine.errors import InputTooLargeError
from rerank_proxy.engine.loading.precision import Precision, Ways
from rerank_proxy.engine.rows import Batch, Row

_log = logging.getLogger(__name__)

_PROBES: Final = ("a short text", "a text " * 40, "and one of another length", "")
_TOLERANCE: Final = 1e-4
"""Largest difference that is rounding, relative to the outputs."""

Network = Classifier | Encoder
Padded = Callable[[Network], PaddedTorchBackend]
"""Moves a network to the device, and runs it the general way."""


def ways_to_run(network: Network, place: torch.device, padded: Padded, scorer: Scorer) -> Ways:
    """Return the ways to run a network that is on the CPU, in float32.

    On CPUs, networks that run without padding have linear layers in a lower precision; of all others, and on
    GPUs, the whole body is in it, and the head stays in float32.
    """
    if place.type != "cpu":
        exact: Callable[[], Backend] = cache(lambda: padded(network))
        return Ways({"fp32": exact, **_halves(network, padded)}, ("fp16", "bf16"), "fp16", time.perf_counter)
    backend = _fastest(padded(network), network, scorer)
    if not isinstance(backend, PackedTorchBackend):
        return Ways({"fp32": lambda: backend, **_halves(network, padded)})
    measured: tuple[Precision, ...] = ("int8", "bf16") if has_bfloat16() else ("int8",)
    build: dict[Precision, Callable[[], Backend]] = {
        "fp32": lambda: backend,
        "int8": lambda: PackedTorchBackend(network, Int8),
        "bf16": lambda: PackedTorchBackend(network, BFloat16),
        "fp16": lambda: PackedTorchBackend(network, Float16),
    }
    return Ways(build, measured)


def _halves(network: Network, padded: Padded) -> dict[Precision, Callable[[], Backend]]:
    return {
        "bf16": lambda: padded(_lowered(network, torch.bfloat16)),
        "fp16": lambda: padded(_lowered(network, torch.float16)),
    }


def _lowered(network: Network, kind: torch.dtype) -> Network:
    """Return a copy of the network whose body is in another type."""
    lowered = copy.deepcopy(network)
    lowered.model.to(kind)
    if isinstance(lowered, Classifier):
        _head_in_float32(lowered.model)
    return lowered


def _head_in_float32(model: nn.Module) -> None:
    """Keep what follows the body in float32: rounding there would make different scores equal."""
    body = getattr(model, str(getattr(model, "base_model_prefix", "")), None)
    for child in model.children():
        if child is not body:
            child.float()
            child.register_forward_pre_hook(_to_float32)


def _to_float32(_module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        each.float() if isinstance(each, Tensor) and each.is_floating_point() else each for each in arguments
    )


def _fastest(padded: PaddedTorchBackend, network: Network, scorer: Scorer) -> Backend:
    """Return a backend without padding, if there is one whose outputs are those of the general one."""
    model_type = network.model.config.model_type
    if not supports(network):
        return padded
    rows = list(_probe_rows(scorer, probe_tokens(network)))
    batch = Batch.of(rows)
    expected = np.concatenate([padded.score(Batch.of(part)) for part in (rows[:-1], rows[-1:]) if part])
    try:
        packed = PackedTorchBackend(network)
        difference = float(np.abs(packed.score(batch) - expected).max())
    except Exception:  # A future transformers may build the type otherwise: slower then, but right.
        _log.warning("a %s model is not built as expected and runs with padding", model_type, exc_info=True)
        return padded
    if difference > _TOLERANCE * max(1.0, float(np.abs(expected).max())):
        _log.warning("a %s model runs with padding: its outputs differ by %g without", model_type, difference)
        return padded
    return packed


def _probe_rows(scorer: Scorer, tokens: int) -> Iterator[Row]:
    """Yield rows of different lengths, the last one of about so many tokens if it may be so long."""
    for probe in (*_PROBES, " ".join(map(str, range(tokens)))):
        with suppress(InputTooLargeError):  # of a model whose texts must not be cut
            yield from gathered(scorer.encode("a query", [probe], [scorer.texts_at]))
