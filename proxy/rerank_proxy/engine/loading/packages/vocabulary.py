"""The vocabulary of a model package: what is in it, and whether it fits the tokenization.

Source: `NlpTokenizer` and its subclasses of `org.elasticsearch.xpack.ml.inference.nlp.tokenizers`.
"""

from typing import Final

import msgspec

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.packages.tokenization import SPECIAL_TOKENS, Kind

MAX_VOCABULARY_BYTES: Final = 64 * 1024 * 1024
MAX_TOKENS: Final = 1_000_000
"""Tokens of a vocabulary; the largest in use have some 260,000."""


class Vocabulary(msgspec.Struct, frozen=True):
    """The vocabulary file; also the body of Elasticsearch's API that stores one."""

    vocabulary: list[str]
    """A token's position is its id."""
    merges: list[str] = []
    """Of `roberta`: pairs of tokens with a space between, the first to be merged first."""
    scores: list[float] = []
    """Of `xlm_roberta` and `deberta_v2`: a log probability per token."""


def check_vocabulary(vocabulary: Vocabulary, kind: Kind) -> None:
    """Check that a vocabulary has what this kind of tokenization needs.

    Raises:
        ModelLoadError: It lacks something, or is too large.
    """
    size = len(vocabulary.vocabulary)
    if size == 0:
        raise ModelLoadError("the vocabulary is empty")
    for what, count in (("tokens", size), ("merges", len(vocabulary.merges))):
        if count > MAX_TOKENS:
            raise ModelLoadError(f"the vocabulary has {count} {what}; at most {MAX_TOKENS} are taken")
    special = SPECIAL_TOKENS[kind]
    known = set(vocabulary.vocabulary)
    for token in (special.unk, special.pad, special.sep, special.cls):
        if token not in known:
            raise ModelLoadError(f"the vocabulary is missing required [{token}] token")
    if kind in ("xlm_roberta", "deberta_v2") and len(vocabulary.scores) != size:
        raise ModelLoadError(
            f"the vocabulary has {size} tokens and {len(vocabulary.scores)} scores; [{kind}] needs one each"
        )
    if kind == "roberta" and not vocabulary.merges:
        raise ModelLoadError("the vocabulary has no merges; [roberta] needs them")
