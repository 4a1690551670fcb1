"""Read how a sparse encoder (SPLADE) makes the weights of its terms, from what its files say."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.reading.model_files import COPY_AGAIN
from rerank_proxy.engine.loading.reading.modules import SPLADE_POOLING, Modules
from rerank_proxy.engine.loading.reading.transformer_config import TransformerConfig

Strategy = Literal["max", "sum"]


@dataclass(frozen=True, slots=True)
class Sparse:
    """What is made of the logits of a text's tokens, one for each term of the vocabulary."""

    strategy: Strategy
    """How the weights that a term has at all tokens become one."""
    logarithms: int
    """How often a weight is replaced by log(1 + weight)."""
    most_terms: int | None
    """So many terms of a text are kept, those with the largest weights; None: all."""
    queries: Path | None = None
    """The directory of the weights and of the tokenizer of queries, if the transformer is for texts only."""


class _SpladePooling(msgspec.Struct):
    """The config of a SpladePooling."""

    pooling_strategy: Strategy = "max"
    activation_function: Literal["relu", "log1p_relu"] = "relu"


def read(
    directory: Path, modules: Modules, how: TransformerConfig, model_type: str, most_terms: Any
) -> Sparse | None:
    """Return how a sparse encoder pools; None for every other model.

    Args:
        model_type: That of sentence-transformers.
        most_terms: Its `max_active_dims`.

    Raises:
        ModelLoadError: It says something that is not understood, or that does not go together.
    """
    pools = [module.name for module in modules.head] == [SPLADE_POOLING]
    if pools != (how.task == "fill-mask"):
        without = "" if pools else "out"
        raise ModelLoadError(
            f"[{directory}] has a transformer for [{how.task}] with{without} {SPLADE_POOLING} behind it, "
            f"which is not supported; {SPLADE_POOLING} goes together with [fill-mask]"
        )
    if not pools:
        return None
    if model_type != "SparseEncoder":
        raise ModelLoadError(
            f"[{directory}] is a {model_type} model with {SPLADE_POOLING}, which is not supported; only a "
            "SparseEncoder has one"
        )
    (module,) = modules.head
    config = _config(module.directory / "config.json", module.config)
    if most_terms is not None and (type(most_terms) is not int or most_terms < 1):
        raise ModelLoadError(
            f"[{directory}] keeps [{most_terms}] terms of a text (max_active_dims), which is not a number of "
            "terms; give one of 1 or more, or none"
        )
    logarithms = 2 if config.activation_function == "log1p_relu" else 1
    return Sparse(config.pooling_strategy, logarithms, most_terms, modules.queries)


def _config(path: Path, content: Mapping[str, Any]) -> _SpladePooling:
    try:
        return msgspec.convert(content, _SpladePooling)
    except msgspec.ValidationError as error:
        raise ModelLoadError(f"[{path}] cannot be read ({error}); {COPY_AGAIN}") from error
