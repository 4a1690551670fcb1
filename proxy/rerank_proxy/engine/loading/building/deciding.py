"""Build what reads the score of a model that generates. Imports torch."""

from typing import Any

from rerank_proxy.engine.backends.generating import LayerHead, LogitHead
from rerank_proxy.engine.encoding.encode import gathered
from rerank_proxy.engine.encoding.tokenizer import Tokenizer
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.reading.pair_format import Decision
from rerank_proxy.engine.loading.reading.profile import Profile
from rerank_proxy.settings import ModelSettings


def decide(
    profile: Profile, decision: Decision, settings: ModelSettings, model: Any, tokenizer: Tokenizer
) -> LogitHead | LayerHead:
    """Build the network.

    Raises:
        ModelLoadError: The model or its tokenizer does not fit the decision, or the settings do not fit both.
    """
    if decision.layers:
        return LayerHead(model, _layer(profile, settings, model))
    if settings.cutoff_layer is not None:
        raise ModelLoadError(f"[{settings.source}] is not a layer-wise reranker: remove its [cutoff_layer]")
    yes = _token(profile, decision.yes, tokenizer)
    no = None if decision.no is None else _token(profile, decision.no, tokenizer)
    try:
        return LogitHead(model, yes, no)
    except ValueError as error:
        raise ModelLoadError(f"[{profile.directory}]: {error}; give a model of a supported class") from None


def _layer(profile: Profile, settings: ModelSettings, model: Any) -> int:
    if not profile.trusted:
        raise ModelLoadError(
            f"[{profile.directory}] is a layer-wise reranker, which needs Python code of its own; read it "
            "and set the model's [trust_remote_code] if you trust it"
        )
    last: int = model.config.num_hidden_layers
    first: int = getattr(model.config, "start_layer", 1)
    layer = settings.cutoff_layer or last
    if not first <= layer <= last:
        raise ModelLoadError(
            f"[{settings.source}] can be cut off at the layers {first} to {last}; [cutoff_layer] is {layer}"
        )
    return layer


def _token(profile: Profile, word: int | str, tokenizer: Tokenizer) -> int:
    if isinstance(word, int):
        return word
    (ids,) = gathered(tokenizer.ids([word], 2))
    if len(ids) != 1:
        raise ModelLoadError(
            f"[{profile.directory}]: its tokenizer does not have [{word}] as one token, by which the model "
            "would give its score; it is not a model of this format"
        )
    return ids[0]
