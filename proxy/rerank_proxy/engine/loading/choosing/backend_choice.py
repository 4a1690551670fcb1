"""Choose the fastest way to run a network whose outputs are those of the plain way. Imports torch."""

import inspect
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from rerank_proxy.engine.backends.generating import LogitHead
from rerank_proxy.engine.backends.model_inputs import ModelInputs
from rerank_proxy.engine.backends.networks import Classifier, Encoder
from rerank_proxy.engine.backends.packed import PackedTorchBackend, probe_tokens, supports
from rerank_proxy.engine.backends.padded import PaddedTorchBackend
from rerank_proxy.engine.backends.protocol import Backend
from rerank_proxy.engine.backends.shared_prefix import SharedPrefixBackend
from rerank_proxy.engine.backends.sparse import TRANSFORMS, SparseBackend, Splade, dense
from rerank_proxy.engine.backends.stateless import is_stateless
from rerank_proxy.engine.backends.vectors import VectorsBackend
from rerank_proxy.engine.encoding.encode import gathered
from rerank_proxy.engine.encoding.late_interaction import LateInteraction
from rerank_proxy.engine.encoding.scorers import Scorer
from rerank_proxy.engine.encoding.tokenizer import Tokenizer
from rerank_proxy.engine.errors import InputTooLargeError
from rerank_proxy.engine.loading.building.networks import Network
from rerank_proxy.engine.rows import Batch, Row, Values

_log = logging.getLogger(__name__)

_PROBES: Final = ("a short text", "a text " * 40, "and one of another length", "")
_TOLERANCE: Final = 1e-4
"""Largest difference that is rounding, relative to the outputs."""

_TIMED_LENGTHS: Final = range(20, 276, 4)
"""Words of the texts with which backends are timed: some 10,000 tokens, a usual batch on a GPU."""

_TIMED_ROUNDS: Final = 4
"""The first prepares what a device prepares once."""

_ROUGH_TOLERANCE: Final = 5e-2
"""The same in float16 and bfloat16."""


def choose_backend(network: Network, place: torch.device, tokenizer: Tokenizer, scorer: Scorer) -> Backend:
    """Return a backend for the network."""
    inputs = ModelInputs(
        place,
        tokenizer.transformers.pad_token_id,
        type_ids=takes_type_ids(network.model, tokenizer),
        stateless=is_stateless(network.model.config),
    )
    if isinstance(scorer, LateInteraction) and isinstance(network, Encoder):
        vectors = partial(VectorsBackend, network, inputs)
        return _fastest(
            vectors(), lambda: vectors(packed=PackedTorchBackend(network)), network, place, scorer
        )
    if isinstance(network, Splade):
        return _of_splade(network, inputs, scorer)
    of_kind = partial(_of_kind, network=network, inputs=inputs)
    padded = of_kind(PaddedTorchBackend)
    if _is_decoder(network):
        shared = of_kind(SharedPrefixBackend)
        return shared if _same_outputs(shared, padded, network, scorer) else padded
    if not isinstance(network, Classifier | Encoder):
        return padded
    return _fastest(padded, lambda: PackedTorchBackend(network), network, place, scorer)


def _of_splade(network: Splade, inputs: ModelInputs, scorer: Scorer) -> Backend:
    backend = partial(SparseBackend, network, inputs)
    if network.model.config.model_type not in TRANSFORMS:
        return backend()
    body = Encoder(network.model, ())
    return _fastest(
        backend(),
        lambda: backend(packed=PackedTorchBackend(body)),
        body,
        inputs.device,
        scorer,
        partial(dense, terms=network.terms),
    )


def _of_kind(kind: type[PaddedTorchBackend], *, network: Network, inputs: ModelInputs) -> PaddedTorchBackend:
    return kind(network, inputs, counted_id=_counted_id(network), fills=not _reads_the_end(network))


def _fastest(
    padded: Backend,
    unpadded: Callable[[], Backend],
    network: Classifier | Encoder,
    place: torch.device,
    scorer: Scorer,
    comparable: Callable[[Values], Values] = lambda values: values,
) -> Backend:
    """Return a backend without padding, if there is one whose outputs are those of the general one.

    On CPUs it is always the faster one. On others that is measured.

    Args:
        comparable: Makes numbers of outputs that can be compared one by one.
    """
    model_type = network.model.config.model_type
    exact = next(network.model.parameters()).dtype == torch.float32
    if not supports(network) or (place.type == "cpu" and not exact):
        return padded
    rows = list(_probe_rows(scorer, probe_tokens(network)))
    parts = [Batch.of(part) for part in (rows[:-1], rows[-1:]) if part]
    expected = [values for part in parts for values in comparable(padded.score(part))]
    try:
        packed = unpadded()
        difference = _difference(comparable(packed.score(Batch.of(rows))), expected)
    except Exception:  # A future transformers may build the type otherwise: slower then, but right.
        _log.warning("a %s model is not built as expected and runs with padding", model_type, exc_info=True)
        return padded
    tolerance = _TOLERANCE if exact else _ROUGH_TOLERANCE
    if difference > tolerance * max(1.0, _largest(expected)):
        _log.warning("a %s model runs with padding: its outputs differ by %g without", model_type, difference)
        return padded
    timed = [] if place.type == "cpu" else list(_timed_rows(scorer))
    if not timed:
        return packed
    ratio = speed_ratio(packed, padded, Batch.of(timed))
    _log.info("a %s model runs %.2f times as fast without padding as with it", model_type, ratio)
    return packed if ratio > 1 else padded


def speed_ratio(
    one: Backend, other: Backend, batch: Batch, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return how many times as fast as another a backend runs a batch."""
    seconds: dict[Backend, float] = {}
    for backend in (one, other) * _TIMED_ROUNDS:
        started = clock()
        backend.score(batch)  # Its outputs are on the CPU, so the device is done.
        took = clock() - started
        seconds[backend] = min(took, seconds.get(backend, took))
    return seconds[other] / seconds[one]


def _timed_rows(scorer: Scorer) -> Iterator[Row]:
    texts = ["a text " * (length // 2) for length in _TIMED_LENGTHS]
    for text in texts:
        with suppress(InputTooLargeError):
            yield from gathered(scorer.encode("a query", [text], [scorer.texts_at]))


def _probe_rows(scorer: Scorer, tokens: int) -> Iterator[Row]:
    """Yield rows of different lengths, the last one of about so many tokens if it may be so long."""
    for probe in (*_PROBES, " ".join(map(str, range(tokens)))):
        with suppress(InputTooLargeError):  # of a model whose texts must not be cut
            yield from gathered(scorer.encode("a query", [probe], [scorer.texts_at]))


def _difference(values: Values, others: Values) -> float:
    pairs = zip(values, others, strict=True)
    return max(float(np.abs(row - other).max(initial=0)) for row, other in pairs)


def _is_decoder(network: Network) -> bool:
    """Return whether the network can probably run behind a shared beginning. To be sure, compare a batch."""
    config = network.model.config
    both_ways = getattr(config, "use_bidirectional_attention", False) or not getattr(
        config, "is_causal", True
    )
    reads_last = isinstance(network, LogitHead) or (
        isinstance(network, Classifier) and isinstance(getattr(network.model, "score", None), nn.Linear)
    )
    return reads_last and not both_ways and not getattr(config, "is_encoder_decoder", False)


def _same_outputs(shared: Backend, padded: Backend, network: Network, scorer: Scorer) -> bool:
    """Return whether outputs behind a shared beginning are those of whole rows."""
    batch = Batch.of(list(_probe_rows(scorer, 0)))
    expected = padded.score(batch)
    try:
        difference = _difference(shared.score(batch), expected)
    except Exception:  # A model may keep another kind of cache, or none.
        difference = np.inf
    exact = next(network.model.parameters()).dtype == torch.float32
    tolerance = _TOLERANCE if exact else _ROUGH_TOLERANCE
    same = difference <= tolerance * max(1.0, _largest(expected))
    if not same:
        kind = network.model.config.model_type
        _log.warning("a %s model computes the beginning of each row: its outputs differ otherwise", kind)
    return same


def _largest(values: Values) -> float:
    return _difference(values, [np.zeros_like(row) for row in values])


def _counted_id(network: Network) -> int | None:
    """Return the token that all rows of a batch must have equally often; None for most models.

    Classifiers of encoder-decoders (BART, T5 and similar) read the output at the last end of a sequence, and
    refuse rows that have different numbers of ends in one batch.
    """
    config = network.model.config
    ends = getattr(config, "eos_token_id", None)
    counts = isinstance(network, Classifier) and getattr(config, "is_encoder_decoder", False)
    return ends if counts and isinstance(ends, int) else None


def _reads_the_end(network: Network) -> bool:
    """Return whether the output is read at the last position, padding or not, as XLNet's classifier does."""
    return isinstance(network, Classifier) and getattr(network.model.config, "summary_type", None) == "last"


def takes_type_ids(model: Any, tokenizer: Tokenizer) -> bool:
    """Return whether the model is to be given segment ids."""
    return tokenizer.gives_type_ids and "token_type_ids" in inspect.signature(model.forward).parameters
