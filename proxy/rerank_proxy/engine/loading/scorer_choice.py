"""Build what encodes texts for a model, and makes scores of its outputs."""

from typing import Any, Final

from rerank_proxy.engine.encoding.encode import (
    PairEncoder,
    PlainPairEncoder,
    TemplatePairEncoder,
    TextEncoder,
    derive_pair,
    derive_single,
)
from rerank_proxy.engine.encoding.scorers import BiEncoder, CrossEncoder, Scorer
from rerank_proxy.engine.encoding.tokenizer import Tokenizer
from rerank_proxy.engine.encoding.truncate import Truncation
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.limits import position_limit
from rerank_proxy.engine.loading.load_late import late_scorer
from rerank_proxy.engine.loading.loaded_model import check_cross_encoder
from rerank_proxy.engine.loading.profile import Profile
from rerank_proxy.engine.loading.prompting import check_activation, prompt_encoder, refuse_prompt_settings
from rerank_proxy.settings import ModelSettings

DEFAULT_TRUNCATION: Final = "balanced"


def build_scorer(
    profile: Profile,
    settings: ModelSettings,
    model: Any,
    tokenizer: Tokenizer,
    max_length: int,
    identity: str,
) -> Scorer:
    """Return the scorer of a model.

    Args:
        max_length: The most tokens of a row.
        identity: The fingerprint of the model.

    Raises:
        ModelLoadError: Settings that such a model cannot have, or a tokenizer that is not supported.
    """
    if profile.kind == "cross-encoder":
        check_cross_encoder(settings)
        check_activation(profile, settings)
        truncation = settings.truncation or DEFAULT_TRUNCATION
        prompted = prompt_encoder(
            profile, settings, tokenizer, model.config.model_type, max_length, truncation
        )
        if prompted is not None:
            return CrossEncoder(identity, prompted, activation=settings.activation)
        pairs = _pair_encoder(tokenizer, max_length, truncation)
        return CrossEncoder(identity, pairs, profile.query_prompt, settings.activation)
    refuse_prompt_settings(settings)
    if profile.late is not None:
        return late_scorer(profile, settings, tokenizer, max_length, position_limit(model), identity)
    template = derive_single(tokenizer)
    if template is None:
        raise ModelLoadError(
            f"[{settings.source}]: its tokenizer adds special tokens in a way that is not supported"
        )
    encoder = TextEncoder(tokenizer, template, max_length)
    return BiEncoder(
        identity,
        encoder,
        profile.query_prompt,
        profile.text_prompt,
        profile.similarity,
        settings.truncate_dim or profile.dimensions,
    )


def _pair_encoder(tokenizer: Tokenizer, max_length: int, truncation: Truncation) -> PairEncoder:
    template = derive_pair(tokenizer)
    if template is None:
        return PlainPairEncoder(tokenizer, max_length, truncation)
    return TemplatePairEncoder(tokenizer, template, max_length, truncation)
