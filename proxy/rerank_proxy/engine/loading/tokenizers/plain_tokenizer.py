"""Read an ordinary tokenizer of BERT from tokenizer.json, without transformers.

transformers makes a `BertTokenizer` from the vocabulary of that file and the options of
tokenizer_config.json, by rules of its own (`tokenization_bert.py`). Where the file describes exactly what
these rules make, it can be taken as it is; every other one is left to transformers.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from tokenizers import Encoding
from tokenizers import Tokenizer as Backend

from rerank_proxy.engine.loading.reading import model_files
from rerank_proxy.engine.loading.reading.directory_check import read_json

_MAX_BYTES: Final = 128 * 1024 * 1024
"""Of tokenizer.json. `directory_check` has refused longer ones already."""

_NO_LIMIT: Final = int(1e30)
"""How transformers says that a tokenizer names no limit."""

_TOKENS: Final[Mapping[str, str]] = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}

_OPTIONS: Final[Mapping[str, tuple[Any, ...]]] = {
    "tokenizer_class": ("BertTokenizer", "BertTokenizerFast"),
    "backend": ("tokenizers",),
    "clean_up_tokenization_spaces": (True, False, None),
    "do_basic_tokenize": (True,),
    "never_split": (None,),
    "padding_side": ("right",),
    "truncation_side": ("right",),
    "additional_special_tokens": ([],),
    "extra_special_tokens": ({}, []),
    "tokenize_chinese_chars": (True, False),
    "do_lower_case": (True, False),
    "strip_accents": (True, False, None),
}
"""What tokenizer_config.json may say."""

_WITHOUT_EFFECT: Final = frozenset(
    {
        "is_local",
        "local_files_only",
        "max_length",
        "name_or_path",
        "pad_to_multiple_of",
        "pad_token_type_id",
        "special_tokens_map_file",
        "stride",
        "truncation_strategy",
    }
)
"""What affects only calls that cut or fill up, which are not made."""

_UNMARKED: Final = {
    "single_word": False,
    "lstrip": False,
    "rstrip": False,
    "normalized": False,
    "special": True,
}


class PlainTokenizerOfBert:
    """The part of transformers' tokenizer that `Tokenizer` uses, with its names."""

    is_fast: Final = True
    model_input_names: Final = ("input_ids", "token_type_ids", "attention_mask")

    def __init__(self, backend: Backend, pad_token_id: int, model_max_length: int) -> None:
        self.backend_tokenizer = backend
        self.pad_token_id = pad_token_id
        self.model_max_length = model_max_length

    def __len__(self) -> int:
        return self.backend_tokenizer.get_vocab_size(with_added_tokens=True)

    def __call__(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> dict[str, list[list[int]]]:
        """Return ids and segment ids of texts, or of pairs of texts, with special tokens."""
        inputs: Any = list(texts) if pairs is None else list(zip(texts, pairs, strict=True))
        encodings: list[Encoding] = self.backend_tokenizer.encode_batch(inputs, add_special_tokens=True)
        return {
            "input_ids": [each.ids for each in encodings],
            "token_type_ids": [each.type_ids for each in encodings],
        }


def read_bert_tokenizer(directory: Path, pad_token_id: int) -> PlainTokenizerOfBert | None:
    """Read the tokenizer of a directory; return None if it is not an ordinary one of BERT.

    Args:
        pad_token_id: The id of padding according to the model.

    Raises:
        ModelLoadError: A file cannot be read.
    """
    options = read_json(directory / "tokenizer_config.json", dict[str, Any])
    if options is None or not _is_ordinary(options) or (directory / "added_tokens.json").exists():
        return None
    if not _is_ordinary(read_json(directory / "special_tokens_map.json", dict[str, Any]) or {}):
        return None
    try:
        content = model_files.read(directory / "tokenizer.json", _MAX_BYTES)
        described = msgspec.json.decode(content, type=dict[str, Any])
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    ids = _ids(described)
    if ids is None or ids["[PAD]"] != pad_token_id or not _describes(described, options, ids):
        return None
    try:
        backend = Backend.from_buffer(content)
    except Exception:  # The library raises nothing more specific.
        return None
    return PlainTokenizerOfBert(backend, pad_token_id, _limit(options))


def _is_ordinary(options: Mapping[str, Any]) -> bool:
    """Return whether options say nothing but what is known here."""
    for name, value in options.items():
        if name in _TOKENS:
            content = value.get("content") if isinstance(value, dict) else value
            if content != _TOKENS[name] or (isinstance(value, dict) and not _is_unmarked(value)):
                return False
        elif name in _OPTIONS:
            # Compared with the type: 1 equals True.
            if not any(type(value) is type(known) and value == known for known in _OPTIONS[name]):
                return False
        elif name == "added_tokens_decoder":
            if not isinstance(value, dict) or not all(_is_known(token) for token in value.values()):
                return False
        elif name == "model_max_length":
            if isinstance(value, bool) or not isinstance(value, int | float | None):
                return False
        elif name not in _WITHOUT_EFFECT:
            return False
    return True


def _is_known(token: Any) -> bool:
    return isinstance(token, dict) and token.get("content") in _TOKENS.values() and _is_unmarked(token)


def _is_unmarked(token: Mapping[str, Any]) -> bool:
    """Return whether a special token is found as it stands, with nothing around it."""
    return all(token.get(name, value) is value for name, value in _UNMARKED.items())


def _ids(described: Mapping[str, Any]) -> dict[str, int] | None:
    """Return the ids of the special tokens, if the vocabulary has all of them, and no others are added."""
    model, added = described.get("model"), described.get("added_tokens")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict) or not isinstance(added, list):
        return None
    vocabulary = model["vocab"]
    ids = {token: vocabulary.get(token) for token in _TOKENS.values()}
    expected = [{"id": number, "content": token, **_UNMARKED} for token, number in ids.items()]
    by_id = sorted(added, key=lambda token: str(token.get("content")) if isinstance(token, dict) else "")
    return ids if by_id == sorted(expected, key=lambda token: str(token["content"])) else None


def _describes(described: Mapping[str, Any], options: Mapping[str, Any], ids: Mapping[str, int]) -> bool:
    """Return whether tokenizer.json describes what transformers makes of the options."""
    normalizer = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": options.get("tokenize_chinese_chars", True),
        "strip_accents": options.get("strip_accents"),
        "lowercase": options.get("do_lower_case", True),
    }
    model = {name: value for name, value in described["model"].items() if name != "vocab"}
    word_piece = {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
    }
    return (
        described.get("normalizer") == normalizer
        and described.get("pre_tokenizer") == {"type": "BertPreTokenizer"}
        and described.get("post_processor") == _template(ids)
        and model == word_piece
    )


def _template(ids: Mapping[str, int]) -> dict[str, Any]:
    """Return how tokenizer.json says `[CLS] A [SEP]` and `[CLS] A [SEP] B [SEP]`, with segment 1 for B."""

    def special(token: str, segment: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": token, "type_id": segment}}

    first = {"Sequence": {"id": "A", "type_id": 0}}
    second = {"Sequence": {"id": "B", "type_id": 1}}
    single = [special("[CLS]", 0), first, special("[SEP]", 0)]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, second, special("[SEP]", 1)],
        "special_tokens": {
            token: {"id": token, "ids": [ids[token]], "tokens": [token]} for token in ("[CLS]", "[SEP]")
        },
    }


def _limit(options: Mapping[str, Any]) -> int:
    limit = options.get("model_max_length")
    return _NO_LIMIT if limit is None else int(limit)
