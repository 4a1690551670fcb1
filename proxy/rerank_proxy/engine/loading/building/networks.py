"""Put a network together: a transformer, and what makes scores of its output. Imports torch."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from rerank_proxy.engine.backends.generating import LayerHead, LogitHead
from rerank_proxy.engine.backends.networks import Classifier, Encoder
from rerank_proxy.engine.backends.sparse import Splade
from rerank_proxy.engine.encoding.tokenizer import Tokenizer
from rerank_proxy.engine.loading.building.deciding import decide
from rerank_proxy.engine.loading.building.head import build_head
from rerank_proxy.engine.loading.building.splade import build_splade
from rerank_proxy.engine.loading.reading.profile import Profile
from rerank_proxy.settings import ModelSettings

Network = Classifier | Encoder | LogitHead | LayerHead | Splade


def build_network(profile: Profile, settings: ModelSettings, model: Any, tokenizer: Tokenizer) -> Network:
    """Return the network on the CPU, in float32, in evaluation mode.

    Raises:
        ModelLoadError: What follows the transformer cannot be built.
    """
    if profile.decision is not None:
        return decide(profile, profile.decision, settings, model, tokenizer).eval()
    if profile.sparse is not None:
        return build_splade(profile.sparse, settings, model).eval()
    if profile.classifies:
        return Classifier(model).eval()
    return Encoder(model, build_head(profile.head)).eval()


def lowered(network: Network, kind: torch.dtype) -> Network:
    """Return a copy of a network whose body is in another type; its head stays in float32."""
    copied = copy.deepcopy(network)
    if isinstance(copied, Splade):
        copied.untie()
    copied.model.to(kind)
    if not isinstance(copied, Encoder):
        _head_in_float32(copied.model)
    return copied


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
