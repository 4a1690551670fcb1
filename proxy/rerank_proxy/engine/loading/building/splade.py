"""Build the network of a sparse encoder (SPLADE): take the last layer off its transformer. Imports torch."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from rerank_proxy.engine.backends.sparse import MAX_TERMS, Splade
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.reading.model_files import COPY_AGAIN
from rerank_proxy.engine.loading.reading.sparse import Sparse
from rerank_proxy.settings import ModelSettings

_WEIGHTS: Final = "model.safetensors"
_PROBE_TOKENS: Final = 8
_TOLERANCE: Final = 1e-5
"""Largest difference that is rounding, relative to the logits."""


def build_splade(sparse: Sparse, settings: ModelSettings, model: Any) -> Splade:
    """Return the network of a `…ForMaskedLM`, which is changed.

    Raises:
        ModelLoadError: Its logits are not those of one linear layer, with a row for each term.
    """
    decoder = model.get_output_embeddings()
    vocabulary = model.get_input_embeddings().num_embeddings
    if not isinstance(decoder, nn.Linear) or not vocabulary <= decoder.out_features < MAX_TERMS:
        raise _unusual(settings, model)
    ids = torch.arange(min(_PROBE_TOKENS, vocabulary))[None]
    with torch.inference_mode():
        expected = _logits(model, ids)
        for parent in tuple(model.modules()):
            for name, child in tuple(parent.named_children()):
                if child is decoder:
                    setattr(parent, name, nn.Identity())
        features = _logits(model, ids)
        fits = features.shape[-1] == decoder.in_features
        if not fits or not _same(decoder(features), expected):
            raise _unusual(settings, model)
    return Splade(
        model,
        decoder,
        sums=sparse.strategy == "sum",
        logarithms=sparse.logarithms,
        most_terms=sparse.most_terms,
        static=None if sparse.queries is None else _static_weights(sparse.queries, decoder.out_features),
    )


def _static_weights(directory: Path, terms: int) -> NDArray[np.float32]:
    try:
        weights = load_file(directory / _WEIGHTS)["weight"].float().numpy()
    except Exception as error:  # Damaged weights surface as errors of several kinds.
        raise ModelLoadError(f"[{directory}] has no weights of queries ({_WEIGHTS}); {COPY_AGAIN}") from error
    if weights.shape != (terms,):
        raise ModelLoadError(
            f"[{directory}] has weights of the shape {weights.shape} for queries, and texts have {terms} "
            f"terms; they do not belong together: {COPY_AGAIN}"
        )
    if not np.isfinite(weights).all():
        raise ModelLoadError(f"[{directory}] has weights of queries that are not finite; {COPY_AGAIN}")
    return weights


def _logits(model: Any, ids: Tensor) -> Tensor:
    logits: Tensor = model(input_ids=ids).logits
    return logits


def _same(logits: Tensor, expected: Tensor) -> bool:
    scale = max(1.0, float(expected.abs().max()))
    return torch.allclose(logits, expected, rtol=0, atol=_TOLERANCE * scale)


def _unusual(settings: ModelSettings, model: Any) -> ModelLoadError:
    return ModelLoadError(
        f"[{settings.source}]: the logits of {type(model).__name__} are not those of one linear layer, which "
        "is not supported for a sparse encoder; give one with another transformer, such as BERT"
    )
