"""A model that can score, and its first batch."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import numpy as np

from rerank_proxy.engine.backends.protocol import Backend
from rerank_proxy.engine.encoding.encode import gathered
from rerank_proxy.engine.encoding.scorers import Scorer
from rerank_proxy.engine.errors import InputTooLargeError, ModelLoadError, advice_for_numbers
from rerank_proxy.engine.rows import Batch, Values
from rerank_proxy.settings import ModelSettings

_WARM_UP_TEXTS: Final = ("short", "warm up " * 300)
"""The second one fills a model that takes 512 tokens."""

PORTION_TEXTS: Final = 2048
"""The event loop spends some 20 ms on so many texts; the window of a search has fewer."""


def portion_texts(texts: int, most_windows: int) -> int:
    """Return how many texts with so many windows each have no more rows than so many whole texts."""
    return max(1, texts // most_windows)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A scorer and the backend that runs its rows."""

    scorer: Scorer
    backend: Backend
    budget_tokens: int
    """The tokens of one batch that suit the device."""
    info: Mapping[str, str]
    """For people: kind, architecture, device, precision, max_length, fingerprint …"""
    portion_texts: int = PORTION_TEXTS
    """The most texts of a call that are scored together. Their outputs are in memory meanwhile."""
    most_windows: int = 1
    """How many rows one text may have."""
    copies: Sequence[Backend] = ()
    """The same on further devices."""
    memory_bytes: int | None = None
    """What its weights take; None where that is not known better than before it was loaded."""


def check_cross_encoder(settings: ModelSettings) -> None:
    """Refuse settings that a cross-encoder cannot have.

    Raises:
        ModelLoadError: They are about embeddings.
    """
    if settings.truncate_dim is not None:
        raise ModelLoadError(
            f"[{settings.source}] is a cross-encoder, which has no embeddings: remove its [truncate_dim]"
        )


def warm_up(loaded: LoadedModel) -> float:
    """Run a first batch, which initialises the libraries, and check its outputs. Return seconds per token.

    Raises:
        ModelLoadError: The outputs are not those of a reranker.
    """
    rows = gathered(loaded.scorer.encode("query", _WARM_UP_TEXTS[:1], range(loaded.scorer.texts_at + 1)))
    with suppress(InputTooLargeError):  # of a model whose texts must not be cut
        rows += gathered(loaded.scorer.encode("query", _WARM_UP_TEXTS[1:], [loaded.scorer.texts_at]))
    batch = Batch.of(rows)
    started = time.perf_counter()
    outputs = [loaded.backend.score(batch)]
    pace_s = (time.perf_counter() - started) / batch.padded_tokens
    outputs += [each.score(batch) for each in loaded.copies]
    for values in outputs:
        _check(loaded, values)
    return pace_s


def _check(loaded: LoadedModel, values: Values) -> None:
    if loaded.info["kind"] == "cross-encoder" and values[0].shape != (1,):
        raise ModelLoadError(f"it gives {values[0].size} numbers for a text; a cross-encoder gives one")
    if not all(np.isfinite(row).all() for row in values):
        raise ModelLoadError(
            f"it gives numbers that are not finite in {loaded.info['precision']}; "
            f"{advice_for_numbers(loaded.info['precision'])}"
        )
