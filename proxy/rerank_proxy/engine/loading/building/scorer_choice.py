"""Build what encodes texts for a model, and makes scores of its outputs."""

from typing import Any, Final

from rerank_proxy.engine.encoding.encode import (
    PairEncoder,
    PlainPairEncoder,
    TemplatePairEncoder,
    TextEncoder,
    derive_pair,
    derive_single,
    gathered,
)
from rerank_proxy.engine.encoding.scorers import BiEncoder, CrossEncoder, Scorer
from rerank_proxy.engine.encoding.sparse import SparseEncoder, StaticQueries
from rerank_proxy.engine.encoding.tokenizer import Tokenizer
from rerank_proxy.engine.encoding.truncate import DEFAULT_TRUNCATION, Truncation
from rerank_proxy.engine.encoding.windows import Division, WindowPairEncoder, WindowTextEncoder
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.building.dividing import division, refuse_windows
from rerank_proxy.engine.loading.building.late import late_scorer
from rerank_proxy.engine.loading.building.prompting import (
    check_activation,
    prompt_encoder,
    refuse_prompt_settings,
)
from rerank_proxy.engine.loading.loaded_model import check_cross_encoder
from rerank_proxy.engine.loading.reading.limits import position_limit
from rerank_proxy.engine.loading.reading.profile import Profile
from rerank_proxy.engine.loading.reading.sparse import Sparse
from rerank_proxy.settings import ModelSettings

_NO_LIMIT: Final = 1_000_000
"""Tokens of a query of static weights whose tokenizer names no limit."""


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
    divides = division(settings, max_length)
    if profile.kind == "cross-encoder":
        truncation = settings.truncation or DEFAULT_TRUNCATION
        check_cross_encoder(settings)
        check_activation(profile, settings)
        prompted = prompt_encoder(
            profile, settings, tokenizer, model.config.model_type, max_length, truncation
        )
        if prompted is not None:
            refuse_windows(settings, "reads its texts in a template, in which they are cut")
            return CrossEncoder(identity, prompted, activation=settings.activation)
        pairs = _pair_encoder(settings, tokenizer, max_length, truncation, divides)
        return CrossEncoder(
            identity, pairs, profile.query_prompt, settings.activation, settings.windows or "max"
        )
    refuse_prompt_settings(settings)
    if profile.late is not None:
        refuse_windows(settings, "is a late-interaction model, whose texts are cut")
        return late_scorer(profile, settings, tokenizer, max_length, position_limit(model), identity)
    inputs = _bi_encoder(profile, settings, tokenizer, max_length, divides, identity)
    return inputs if profile.sparse is None else _sparse(profile, profile.sparse, settings, model, inputs)


def _sparse(
    profile: Profile, sparse: Sparse, settings: ModelSettings, model: Any, inputs: BiEncoder
) -> SparseEncoder:
    if settings.truncate_dim is not None:
        raise ModelLoadError(
            f"[{settings.source}] is a sparse encoder, which is scored by all of its terms: remove its "
            "[truncate_dim]"
        )
    queries = None
    if sparse.queries is not None:
        # Imported here, as in `load.py`. A sparse encoder is always loaded by it.
        from rerank_proxy.engine.loading.building.checkpoint import load_query_tokenizer

        terms = model.get_input_embeddings().num_embeddings
        tokenizer = load_query_tokenizer(profile, sparse.queries, terms)
        longest = min(settings.max_length or _NO_LIMIT, tokenizer.transformers.model_max_length, _NO_LIMIT)
        truncation = settings.truncation or DEFAULT_TRUNCATION
        queries = StaticQueries(tokenizer, longest, truncation, profile.query_prompt)
    return SparseEncoder(inputs, profile.similarity, settings.windows or "max", queries)


def _bi_encoder(
    profile: Profile,
    settings: ModelSettings,
    tokenizer: Tokenizer,
    max_length: int,
    divides: Division | None,
    identity: str,
) -> BiEncoder:
    template = derive_single(tokenizer)
    if template is None:
        raise ModelLoadError(
            f"[{settings.source}]: its tokenizer adds special tokens in a way that is not supported"
        )
    truncation = settings.truncation or DEFAULT_TRUNCATION
    encoder = TextEncoder(tokenizer, template, max_length, truncation, "query")
    texts: TextEncoder | WindowTextEncoder | None = None
    if divides is not None:
        prompt = _prompt_ids(settings, profile, tokenizer, max_length)
        texts = WindowTextEncoder(tokenizer, template, max_length, divides, prompt)
    elif truncation == "first" or (profile.sparse is not None and profile.sparse.queries is not None):
        # No other rule treats queries and texts differently.
        texts = TextEncoder(tokenizer, template, max_length, truncation)
    return BiEncoder(
        identity,
        encoder,
        profile.query_prompt,
        profile.text_prompt,
        profile.similarity,
        settings.truncate_dim or profile.dimensions,
        texts,
        settings.windows or "max",
    )


def _prompt_ids(
    settings: ModelSettings, profile: Profile, tokenizer: Tokenizer, max_length: int
) -> list[int]:
    """Return the tokens that each window begins with."""
    (ids,) = gathered(tokenizer.ids([profile.text_prompt], max_length))
    if len(ids) > max_length // 2:
        raise ModelLoadError(
            f"[{settings.source}]: its prompt for texts leaves a window less than half of its {max_length} "
            "tokens: remove its [windows]"
        )
    return ids


def _pair_encoder(
    settings: ModelSettings,
    tokenizer: Tokenizer,
    max_length: int,
    truncation: Truncation,
    divides: Division | None,
) -> PairEncoder:
    template = derive_pair(tokenizer)
    if template is not None and divides is not None:
        return WindowPairEncoder(tokenizer, template, max_length, divides)
    if template is None:
        refuse_windows(settings, "makes its pairs in a way that leaves no place for windows")
        return PlainPairEncoder(tokenizer, max_length, truncation)
    return TemplatePairEncoder(tokenizer, template, max_length, truncation)
