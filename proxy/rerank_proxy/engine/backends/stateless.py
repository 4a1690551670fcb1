"""Which networks of transformers several threads may run at the same time."""

from typing import Any, Final

_TYPES: Final = frozenset(
    {
        "albert",
        "bert",
        "camembert",
        "deberta",
        "deberta-v2",
        "distilbert",
        "electra",
        "gemma",
        "gemma2",
        "gemma3_text",
        "llama",
        "mistral",
        "modernbert",
        "mpnet",
        "qwen2",
        "qwen3",
        "roberta",
        "xlm",
        "xlm-roberta",
        "xlm-roberta-xl",
    }
)
"""Types whose forward pass was read: it sets no attribute of a module. Others may: BigBird, for example,
turns to full attention for good when rows are short. A type that is missing here is only slower."""

_MOVING_ROPE: Final = ("dynamic", "longrope")
"""Kinds of rotary embeddings that recompute their frequencies when a longer row comes."""


def is_stateless(config: Any) -> bool:
    """Return whether the forward pass of a model with this configuration changes nothing in the model."""
    return config.model_type in _TYPES and not any(kind in _MOVING_ROPE for kind in _rope_kinds(config))


def _rope_kinds(config: Any) -> set[str]:
    """Return the kinds of rotary embeddings: of the model, or of each type of layer."""
    parameters = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    nested = [each for each in parameters.values() if isinstance(each, dict)]
    kinds = (each.get("rope_type") or each.get("type") for each in (parameters, *nested))
    return {kind for kind in kinds if isinstance(kind, str)}
