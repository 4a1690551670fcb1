"""Build the tokenizer of a model package from its vocabulary, as Elasticsearch builds its own.

Sources: the classes of `org.elasticsearch.xpack.ml.inference.nlp.tokenizers`, named where each is built.
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
)

from rerank_proxy.engine.encoding.encode import Ids, Template
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.packages.tokenization import SPECIAL_TOKENS, Kind, Tokenization
from rerank_proxy.engine.loading.packages.vocabulary import Vocabulary

_SPACES: Final = "\t\n\f\r\u1680\u200b\u200c\u200e\u200f\u2028\u2029\u2581\ufeff\ufffd"
_CONTROLS: Final = "\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f"
_WIDE_TILDE: Final = "\uff5e"
_STAND_IN: Final = "\ufdd0"
"""A code point that is not a character: stands for one that NFKC must not touch."""

_NMT_NFKC: Final = normalizers.Sequence(
    [
        normalizers.Replace(Regex(f"[{_SPACES}]"), " "),
        normalizers.Replace(Regex(f"[{_CONTROLS}]"), ""),
        normalizers.Replace(_WIDE_TILDE, _STAND_IN),
        normalizers.NFKC(),
        normalizers.Replace(_STAND_IN, _WIDE_TILDE),
    ]
)
"""SentencePiece's rule `nmt_nfkc`, which Elasticsearch has as a table (`PrecompiledCharMapNormalizer`)."""

_UNKNOWN_BYTES: Final = tuple(f"<0x{byte:02X}>" for byte in range(256))


def build_tokenizer(vocabulary: Vocabulary, tokenization: Tokenization) -> Tokenizer:
    """Build the tokenizer for plain texts, without special tokens around them.

    Special tokens that a text spells out are ordinary text, except those that are never split.

    Raises:
        ModelLoadError: The vocabulary is inconsistent.
    """
    try:
        tokenizer = _BUILDERS[tokenization.kind](vocabulary, tokenization)
    except Exception as error:  # The library raises plain `Exception`.
        raise ModelLoadError(f"its vocabulary cannot be used ({error})") from error
    known = set(vocabulary.vocabulary)
    kept = [token for token in SPECIAL_TOKENS[tokenization.kind].never_split if token in known]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in kept])
    return tokenizer


def pair_template(vocabulary: Vocabulary, kind: Kind) -> Template:
    """Return the special tokens of a pair. Source: `BertTokenizationResult` and its like."""
    special = SPECIAL_TOKENS[kind]
    cls, sep = token_id(vocabulary, special.cls), token_id(vocabulary, special.sep)
    if kind in ("bert", "deberta_v2"):
        return Template(_ids(cls), _ids(sep), _ids(sep), (0, 0, 0, 1, 1))
    return Template(_ids(cls), _ids(sep, sep), _ids(sep), (0, 0, 0, 0, 0))


def token_id(vocabulary: Vocabulary, token: str) -> int:
    """Return the id of a token: of several equal ones the last, as in Elasticsearch."""
    return len(vocabulary.vocabulary) - 1 - vocabulary.vocabulary[::-1].index(token)


def _ids(*ids: int) -> Ids:
    return np.array(ids, np.int32)


def _wordpiece(vocabulary: Vocabulary, tokenization: Tokenization) -> Tokenizer:
    """Build it as `BertTokenizer` and `MPNetTokenizer` do."""
    unknown = SPECIAL_TOKENS[tokenization.kind].unk
    tokenizer = Tokenizer(models.WordPiece(_numbered(vocabulary), unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=tokenization.do_lower_case
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _bpe(vocabulary: Vocabulary, tokenization: Tokenization) -> Tokenizer:
    """Build it as `RobertaTokenizer` does."""
    merges = [_merge(line) for line in vocabulary.merges]
    unknown = SPECIAL_TOKENS[tokenization.kind].unk
    tokenizer = Tokenizer(models.BPE(_numbered(vocabulary), merges, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=tokenization.add_prefix_space)
    return tokenizer


def _merge(line: str) -> tuple[str, str]:
    first, _, second = line.partition(" ")
    return first, second


def _unigram(vocabulary: Vocabulary, tokenization: Tokenization) -> Tokenizer:
    """Build it as `XLMRobertaTokenizer` and `DebertaV2Tokenizer` do.

    The latter spells unknown characters as bytes if the vocabulary has tokens for these.
    """
    known = set(vocabulary.vocabulary)
    tokenizer = Tokenizer(
        models.Unigram(
            list(zip(vocabulary.vocabulary, vocabulary.scores, strict=True)),
            unk_id=token_id(vocabulary, SPECIAL_TOKENS[tokenization.kind].unk),
            byte_fallback=tokenization.kind == "deberta_v2" and known.issuperset(_UNKNOWN_BYTES),
        )
    )
    tokenizer.normalizer = _NMT_NFKC
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=False),
        ]
    )
    return tokenizer


def _numbered(vocabulary: Vocabulary) -> dict[str, int]:
    return {token: number for number, token in enumerate(vocabulary.vocabulary)}


_BUILDERS: Final[Mapping[Kind, Callable[[Vocabulary, Tokenization], Tokenizer]]] = {
    "bert": _wordpiece,
    "mpnet": _wordpiece,
    "roberta": _bpe,
    "xlm_roberta": _unigram,
    "deberta_v2": _unigram,
}
