"""Build a checkpoint's tokenizer from tokenizer.json and tokenizer_config.json, without transformers.

transformers builds the tokenizers of some classes anew from the vocabulary, with options of
tokenizer_config.json, whatever tokenizer.json says of them. The same is done here for the classes that
rerankers have; others are refused, as their tokens might be different ones. Source: the modules
`tokenization_*.py` of transformers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers

from rerank_proxy.engine.encoding.tokenizer import FastTokenizer
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.reading import model_files
from rerank_proxy.engine.loading.reading.directory_check import read_json
from rerank_proxy.engine.loading.reading.model_files import COPY_AGAIN

_MAX_BYTES: Final = 128 * 1024 * 1024
_EXPORT: Final = "export it into a directory of its own with `rerank-proxy export`, which writes one that can"


class _Added(msgspec.Struct):
    """A token of `added_tokens_decoder`."""

    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = True
    special: bool = False


class _Options(msgspec.Struct):
    """tokenizer_config.json, as far as it matters here. What it does not say has the default of the class."""

    tokenizer_class: str | None = None
    model_max_length: float | None = None
    model_input_names: list[str] | None = None
    pad_token: Any = None
    added_tokens_decoder: dict[str, _Added] = {}
    do_lower_case: bool | None = None
    strip_accents: bool | None = None
    tokenize_chinese_chars: bool | None = None
    add_prefix_space: bool | None = None
    split_by_punct: bool | None = None
    split_special_tokens: bool = False


class _SpecialTokens(msgspec.Struct):
    """special_tokens_map.json, which older checkpoints have."""

    pad_token: Any = None


@dataclass(frozen=True, slots=True)
class JsonTokenizer:
    """A tokenizer, and what else its files say."""

    tokenizer: FastTokenizer
    pad_id: int
    model_max_length: int | None
    gives_type_ids: bool


def read_tokenizer(directory: Path, model_type: str | None, lower_case: bool) -> JsonTokenizer:
    """Read the tokenizer of a directory.

    Args:
        model_type: Of config.json. It tells the class where tokenizer_config.json does not.
        lower_case: Put texts in lower case before everything else, as sentence-transformers can.

    Raises:
        ModelLoadError: There is none, or one that transformers would change in a way that is not known here.
    """
    tokenizer = _tokenizer(directory)
    options = read_json(directory / "tokenizer_config.json", _Options) or _Options()
    name = (options.tokenizer_class or _CLASSES_OF_TYPES.get(model_type or "", "")).removesuffix("Fast")
    adapt = _CLASSES.get(name)
    if adapt is None:
        raise ModelLoadError(
            f"[{directory}] has a tokenizer of the class [{name or 'unknown'}], which cannot be built "
            f"without transformers; {_EXPORT}"
        )
    adapt(tokenizer, options)
    _add_tokens(directory, tokenizer, options)
    tokenizer.encode_special_tokens = options.split_special_tokens
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if lower_case:
        put_in_lower_case(tokenizer)
    names = options.model_input_names
    return JsonTokenizer(
        FastTokenizer(tokenizer),
        _pad_id(directory, tokenizer, options),
        None if options.model_max_length is None else int(options.model_max_length),
        names is None or "token_type_ids" in names,
    )


def put_in_lower_case(tokenizer: Any) -> None:
    """Have texts put in lower case before everything else, as sentence-transformers does."""
    normalizer = tokenizer.normalizer
    lower = normalizers.Lowercase()
    tokenizer.normalizer = normalizers.Sequence([lower, normalizer] if normalizer else [lower])


def _tokenizer(directory: Path) -> Tokenizer:
    path = directory / "tokenizer.json"
    try:
        content = model_files.read(path, _MAX_BYTES)
    except FileNotFoundError:
        raise ModelLoadError(
            f"[{directory}] has no tokenizer.json, without which it cannot be run by ONNX Runtime; {_EXPORT}"
        ) from None
    try:
        return Tokenizer.from_buffer(content)
    except Exception as error:  # The library raises plain `Exception`.
        raise ModelLoadError(f"[{path}] cannot be read ({error}); {COPY_AGAIN}") from error


def _as_it_is(tokenizer: Tokenizer, options: _Options) -> None:
    """Leave what tokenizer.json says."""


def _as_bert(tokenizer: Tokenizer, options: _Options) -> None:
    """Take the normaliser's options as `BertTokenizer` and `MPNetTokenizer` do."""
    lower_case, chinese = options.do_lower_case, options.tokenize_chinese_chars
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=chinese is None or chinese,
        strip_accents=options.strip_accents,
        lowercase=lower_case is None or lower_case,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()


def _as_roberta(tokenizer: Tokenizer, options: _Options) -> None:
    """Take the space before a text from the options, as `RobertaTokenizer` does."""
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=bool(options.add_prefix_space))


def _as_deberta(tokenizer: Tokenizer, options: _Options) -> None:
    """Build normaliser and pre-tokeniser as `DebertaV2Tokenizer` does."""
    tokenizer.normalizer = normalizers.Sequence(
        [
            *([normalizers.Lowercase()] if options.do_lower_case else []),
            normalizers.Replace(Regex(r"\s{2,}|[\n\r\t]"), " "),
            normalizers.NFC(),
            normalizers.Strip(left=False, right=True),
        ]
    )
    first = options.add_prefix_space is not None and not options.add_prefix_space
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *([pre_tokenizers.Punctuation(behavior="isolated")] if options.split_by_punct else []),
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first" if first else "always"),
        ]
    )


_CLASSES: Final[Mapping[str, Callable[[Tokenizer, _Options], None]]] = {
    "PreTrainedTokenizer": _as_it_is,
    "TokenizersBackend": _as_it_is,
    "XLMRobertaTokenizer": _as_it_is,
    "BertTokenizer": _as_bert,
    "DistilBertTokenizer": _as_bert,
    "ElectraTokenizer": _as_bert,
    "MPNetTokenizer": _as_bert,
    "RobertaTokenizer": _as_roberta,
    "DebertaV2Tokenizer": _as_deberta,
}
"""How each class of transformers changes what tokenizer.json says. The name is that without `Fast`."""

_CLASSES_OF_TYPES: Final = {
    "bert": "BertTokenizer",
    "distilbert": "DistilBertTokenizer",
    "electra": "ElectraTokenizer",
    "mpnet": "MPNetTokenizer",
    "roberta": "RobertaTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "deberta-v2": "DebertaV2Tokenizer",
    "modernbert": "TokenizersBackend",
}


def _add_tokens(directory: Path, tokenizer: Tokenizer, options: _Options) -> None:
    """Add the tokens that tokenizer_config.json names, in place of those that tokenizer.json says otherwise.

    Raises:
        ModelLoadError: They have other ids than it says.
    """
    named = sorted(options.added_tokens_decoder.items(), key=lambda item: int(item[0]))
    for number, token in named:
        added = AddedToken(
            token.content,
            single_word=token.single_word,
            lstrip=token.lstrip,
            rstrip=token.rstrip,
            normalized=token.normalized,
            special=token.special,
        )
        tokenizer.add_tokens([added])
        if tokenizer.token_to_id(token.content) != int(number):
            raise ModelLoadError(
                f"[{directory}]: its tokenizer_config.json gives the token [{token.content}] another id "
                f"than its tokenizer.json; {COPY_AGAIN}"
            )


def _pad_id(directory: Path, tokenizer: Tokenizer, options: _Options) -> int:
    older = read_json(directory / "special_tokens_map.json", _SpecialTokens) or _SpecialTokens()
    token = options.pad_token or older.pad_token or ("[PAD]" if tokenizer.token_to_id("[PAD]") else "<pad>")
    content = token.get("content") if isinstance(token, dict) else token
    number = tokenizer.token_to_id(content) if isinstance(content, str) else None
    if number is None:
        raise ModelLoadError(
            f"[{directory}]: its tokenizer has no padding token, so texts cannot run in one batch"
        )
    return number
