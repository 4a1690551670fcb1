"""Build the network of a sparse encoder (SPLADE): take the last layer off its transformer. Imports torch."""

from typing import Any, Final

import torch
from torch import Tensor, nn

from rerank_proxy.engine.backends.sparse import MAX_TERMS, Splade
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.reading.sparse import Sparse
from rerank_proxy.settings import ModelSettings

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
    )


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
