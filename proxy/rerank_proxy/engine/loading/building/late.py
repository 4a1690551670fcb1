"""Build what encodes and scores for a late-interaction model (ColBERT)."""

from dataclasses import dataclass
from typing import Final

from rerank_proxy.engine.encoding.encode import Role, Template, TextEncoder, derive_single
from rerank_proxy.engine.encoding.late_interaction import Expansion, LateInteraction, TokenEncoder
from rerank_proxy.engine.encoding.tokenizer import Tokenizer
from rerank_proxy.engine.encoding.truncate import DEFAULT_TRUNCATION
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.reading.late_interaction import LateInteraction as Late
from rerank_proxy.engine.loading.reading.late_interaction import QueryExpansion
from rerank_proxy.engine.loading.reading.profile import Profile
from rerank_proxy.settings import ModelSettings

PORTION_TEXTS: Final = 256
"""Their vectors take 40 MB, with 300 tokens each in 128 dimensions."""

_NAMES: Final[dict[Role, str]] = {"query": "query", "text": "document"}
"""What checkpoints call them."""


def late_scorer(
    profile: Profile,
    settings: ModelSettings,
    tokenizer: Tokenizer,
    max_length: int,
    hard_limit: int | None,
    identity: str,
) -> LateInteraction:
    """Build the scorer.

    Args:
        max_length: The most tokens of a text.
        hard_limit: Tokens for which the model has positions; None for any number.

    Raises:
        ModelLoadError: Tokens that it names are not in its vocabulary, or its queries are too long for it.
    """
    late = profile.late
    assert late is not None
    if settings.truncate_dim is not None:
        raise ModelLoadError(
            f"[{settings.source}] is a late-interaction model, which is scored in all its dimensions: remove "
            "its [truncate_dim]"
        )
    template = derive_single(tokenizer)
    if template is None:
        raise ModelLoadError(
            f"[{settings.source}]: its tokenizer adds special tokens in a way that is not supported"
        )
    build = _Encoders(late, settings, tokenizer, template)
    query_length = _query_length(late, settings, max_length, hard_limit)
    return LateInteraction(
        identity,
        build.encoder("query", late.query_marker, query_length, profile.query_prompt),
        build.encoder("text", late.text_marker, max_length, profile.text_prompt),
        averages=late.averages,
    )


def _query_length(late: Late, settings: ModelSettings, max_length: int, hard_limit: int | None) -> int:
    """Return the most tokens of a query, those that fill it up included."""
    longest = late.query_length or max_length
    if late.expansion is not None:
        filled = late.expansion.length
        longest = filled if late.expansion.cuts else max(longest, filled)
    if hard_limit is not None and longest > hard_limit:
        raise ModelLoadError(
            f"[{settings.source}] has positions for {hard_limit} tokens, and its queries have {longest}"
        )
    return longest


@dataclass(frozen=True, slots=True)
class _Encoders:
    """Builds the encoder of queries and that of texts."""

    late: Late
    settings: ModelSettings
    tokenizer: Tokenizer
    template: Template

    def encoder(self, role: Role, marker: str | None, length: int, prompt: str) -> TokenEncoder:
        settings, tokenizer, late = self.settings, self.tokenizer, self.late
        marker_id = None if marker is None else _token_id(settings, tokenizer, marker)
        own = length - (marker_id is not None)
        if own <= self.template.special_tokens:
            raise ModelLoadError(
                f"[{settings.source}] leaves a {_NAMES[role]} {length} tokens, too few for any word"
            )
        return TokenEncoder(
            TextEncoder(tokenizer, self.template, own, settings.truncation or DEFAULT_TRUNCATION, role),
            prompt,
            strips=late.strips,
            marker_id=marker_id,
            skipped_ids=_skipped_ids(tokenizer, late) if _NAMES[role] in late.skipped_in else (),
            expansion=_expansion(settings, tokenizer, late.expansion) if role == "query" else None,
        )


def _expansion(
    settings: ModelSettings, tokenizer: Tokenizer, expansion: QueryExpansion | None
) -> Expansion | None:
    if expansion is None:
        return None
    if expansion.token is not None:
        token_id = _token_id(settings, tokenizer, expansion.token)
    else:
        mask, end = tokenizer.transformers.mask_token_id, tokenizer.transformers.eos_token_id
        token_id = end if mask is None else mask
    if token_id is None:
        raise ModelLoadError(
            f"[{settings.source}] fills queries up with a mask, and its tokenizer has none, nor an end of a "
            "sequence: its tokenizer is incomplete, or of another model"
        )
    return Expansion(token_id, expansion.length, expansion.attended)


def _token_id(settings: ModelSettings, tokenizer: Tokenizer, token: str) -> int:
    found = _known_id(tokenizer, token)
    if found is None:
        raise ModelLoadError(
            f"[{settings.source}] puts the token [{token}] into texts, and its tokenizer does not have it: "
            "the files are incomplete or of different models"
        )
    return found


def _skipped_ids(tokenizer: Tokenizer, late: Late) -> list[int]:
    unknown = tokenizer.transformers.unk_token_id if late.unknown_skipped else None
    ids = (_known_id(tokenizer, word) for word in late.skipped)
    return [each for each in (unknown if each is None else each for each in ids) if each is not None]


def _known_id(tokenizer: Tokenizer, token: str) -> int | None:
    found: int | None = tokenizer.transformers.convert_tokens_to_ids(token)
    unknown = tokenizer.transformers.unk_token
    return None if found == tokenizer.transformers.unk_token_id and token != unknown else found
