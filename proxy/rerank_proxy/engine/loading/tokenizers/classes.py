"""How transformers builds the tokenizers of each class. Source: its modules `tokenization_*.py`."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from rerank_proxy.engine.loading.tokenizers.described import Described, UnusualTokenizerError
from rerank_proxy.engine.loading.tokenizers.options import Options
from rerank_proxy.engine.loading.tokenizers.tokens import Token, Tokens

_SEGMENTS: Final = ("input_ids", "token_type_ids", "attention_mask")
_NO_SEGMENTS: Final = ("input_ids", "attention_mask")


@dataclass(frozen=True, slots=True)
class Recipe:
    """A class of tokenizers."""

    build: Callable[[bytes, Described, Options, Tokens], Tokenizer]
    """From tokenizer.json, as it is and decoded, options and tokens."""
    inputs: tuple[str, ...] = _NO_SEGMENTS
    """The inputs of a model that it gives if the options do not say."""
    tokens: Mapping[str, Token] = field(default_factory=dict)
    """The tokens that have a name, if the files do not say."""
    made_anew: bool = True
    """Whether it is made of the vocabulary; otherwise it is taken as tokenizer.json says."""


def _as_it_is(content: bytes, described: Described, options: Options, tokens: Tokens) -> Tokenizer:
    """Take what tokenizer.json says, with the tokens of tokenizer_config.json."""
    if described.post_processor is None:
        raise UnusualTokenizerError("without special tokens in its tokenizer.json")
    return _finished(Tokenizer.from_buffer(content), options, tokens)


def _word_piece(content: bytes, described: Described, options: Options, tokens: Tokens) -> Tokenizer:
    """Build a `BertTokenizer`."""
    backend = _word_piece_model(described, options, tokens)
    ends = [_end(backend, tokens, name) for name in ("cls_token", "sep_token")]
    first, last = (text for text, _ in ends)
    backend.post_processor = processors.TemplateProcessing(
        single=[f"{first}:0", "$A:0", f"{last}:0"],
        pair=[f"{first}:0", "$A:0", f"{last}:0", "$B:1", f"{last}:1"],
        special_tokens=ends,
    )
    return backend


def _mpnet(content: bytes, described: Described, options: Options, tokens: Tokens) -> Tokenizer:
    """Build an `MPNetTokenizer`."""
    backend = _word_piece_model(described, options, tokens)
    backend.post_processor = processors.RobertaProcessing(
        _end(backend, tokens, "sep_token"), _end(backend, tokens, "cls_token"), True, False
    )
    return backend


def _word_piece_model(described: Described, options: Options, tokens: Tokens) -> Tokenizer:
    model = described.decoded_model()
    if model.type not in ("WordPiece", None) or not isinstance(model.vocab, dict):
        raise UnusualTokenizerError("that is not of WordPiece")
    backend = Tokenizer(models.WordPiece(model.vocab, unk_token=str(tokens.named["unk_token"])))
    lower_case = options.do_lower_case
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=options.tokenize_chinese_chars,
        strip_accents=options.strip_accents,
        lowercase=True if lower_case is msgspec.UNSET else lower_case,
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return _finished(backend, options, tokens)


def _byte_pairs(content: bytes, described: Described, options: Options, tokens: Tokens) -> Tokenizer:
    """Build a `RobertaTokenizer`."""
    model = described.decoded_model()
    merges = [tuple(each.split(" ")) if isinstance(each, str) else each for each in model.merges]
    if model.type != "BPE" or not isinstance(model.vocab, dict) or any(len(each) != 2 for each in merges):
        raise UnusualTokenizerError("that is not of BPE")
    backend = Tokenizer(
        models.BPE(
            model.vocab,
            merges,  # type: ignore[arg-type]  # all are pairs
            continuing_subword_prefix="",
            end_of_word_suffix="",
            fuse_unk=False,
        )
    )
    prefix = options.add_prefix_space is True
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    _finished(backend, options, tokens)
    backend.post_processor = processors.RobertaProcessing(
        _end(backend, tokens, "sep_token"), _end(backend, tokens, "cls_token"), options.trim_offsets, prefix
    )
    return backend


def _xlm_roberta(content: bytes, described: Described, options: Options, tokens: Tokens) -> Tokenizer:
    """Build an `XLMRobertaTokenizer`."""
    backend = _unigram(described, 3)
    charsmap = _charsmap(described.normalizer)
    if charsmap is not None:
        backend.normalizer = normalizers.Precompiled(charsmap)
    scheme = "never" if options.add_prefix_space is False else "always"
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme),
        ]
    )
    _finished(backend, options, tokens)
    ends = [_end(backend, tokens, name) for name in ("bos_token", "eos_token")]
    first, last = (text for text, _ in ends)
    backend.post_processor = processors.TemplateProcessing(
        single=[first, "$A", last], pair=[first, "$A", last, last, "$B", last], special_tokens=ends
    )
    return backend


def _deberta(content: bytes, described: Described, options: Options, tokens: Tokens) -> Tokenizer:
    """Build a `DebertaV2Tokenizer`."""
    backend = _unigram(described, options.unk_id, str(tokens.named["unk_token"]))
    backend.normalizer = normalizers.Sequence(
        [
            *([normalizers.Lowercase()] if options.do_lower_case is True else []),
            normalizers.Replace(Regex(r"\s{2,}|[\n\r\t]"), " "),
            normalizers.NFC(),
            normalizers.Strip(left=False, right=True),
        ]
    )
    scheme = "first" if options.add_prefix_space is False else "always"
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *([pre_tokenizers.Punctuation(behavior="isolated")] if options.split_by_punct else []),
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme),
        ]
    )
    _finished(backend, options, tokens)
    ends = [_end(backend, tokens, name) for name in ("cls_token", "sep_token")]
    first, last = (text for text, _ in ends)
    backend.post_processor = processors.TemplateProcessing(
        single=[f"{first}:0", "$A:0", f"{last}:0"],
        pair=[f"{first}:0", "$A:0", f"{last}:0", "$B:1", f"{last}:1"],
        special_tokens=ends,
    )
    return backend


def _unigram(described: Described, unknown_id: int, unknown: str | None = None) -> Tokenizer:
    model = described.decoded_model()
    if model.type != "Unigram" or not isinstance(model.vocab, list):
        raise UnusualTokenizerError("that is not of Unigram")
    if unknown is not None and (unknown, 0.0) in model.vocab:
        unknown_id = model.vocab.index((unknown, 0.0))
    return Tokenizer(models.Unigram(model.vocab, unk_id=unknown_id, byte_fallback=False))


def _charsmap(normalizer: Any) -> bytes | None:
    """Return the first table of characters of a normaliser."""
    if normalizer is None:
        return None
    for step in normalizer["normalizers"] if normalizer.get("type") == "Sequence" else [normalizer]:
        if step.get("type") == "Precompiled" and "precompiled_charsmap" in step:
            return base64.b64decode(step["precompiled_charsmap"])
    return None


def _finished(backend: Tokenizer, options: Options, tokens: Tokens) -> Tokenizer:
    """Add what all classes add in the same way."""
    backend.encode_special_tokens = options.split_special_tokens
    tokens.add_to(backend)
    return backend


def _end(backend: Tokenizer, tokens: Tokens, name: str) -> tuple[str, int]:
    """Return a special token, and its id, which it has by now."""
    text = str(tokens.named[name])
    number = backend.token_to_id(text)
    assert number is not None
    return text, number


_OF_BERT: Final[Mapping[str, Token]] = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_OF_ROBERTA: Final[Mapping[str, str]] = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "cls_token": "<s>",
    "mask_token": "<mask>",
}
_OF_MPNET: Final[Mapping[str, Token]] = {
    name: AddedToken(text, lstrip=name == "mask_token", rstrip=False, special=True)
    for name, text in {**_OF_ROBERTA, "unk_token": "[UNK]"}.items()
}
_OF_DEBERTA: Final[Mapping[str, Token]] = {"bos_token": "[CLS]", "eos_token": "[SEP]", **_OF_BERT}

_AS_IT_IS: Final = Recipe(_as_it_is, made_anew=False)
_BERT: Final = Recipe(_word_piece, _SEGMENTS, _OF_BERT)

CLASSES: Final[Mapping[str, Recipe]] = {
    "PreTrainedTokenizer": _AS_IT_IS,
    "TokenizersBackend": _AS_IT_IS,
    "BertTokenizer": _BERT,
    "ElectraTokenizer": _BERT,
    "DistilBertTokenizer": Recipe(_word_piece, tokens=_OF_BERT),
    "MPNetTokenizer": Recipe(_mpnet, tokens=_OF_MPNET),
    "RobertaTokenizer": Recipe(_byte_pairs, tokens=_OF_ROBERTA),
    "XLMRobertaTokenizer": Recipe(_xlm_roberta, tokens=_OF_ROBERTA),
    "DebertaV2Tokenizer": Recipe(_deberta, (*_NO_SEGMENTS, "token_type_ids"), _OF_DEBERTA),
}
"""By the name of the class without `Fast`."""

CLASSES_OF_TYPES: Final = {
    "bert": "BertTokenizer",
    "deberta-v2": "DebertaV2Tokenizer",
    "distilbert": "BertTokenizer",
    "electra": "BertTokenizer",
    "gte": "XLMRobertaTokenizer",
    "modernbert": "TokenizersBackend",
    "mpnet": "MPNetTokenizer",
    "nomic_bert": "BertTokenizer",
    "roberta": "RobertaTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
}
"""The class of each `model_type`, where no file names one (`TOKENIZER_MAPPING_NAMES`)."""
