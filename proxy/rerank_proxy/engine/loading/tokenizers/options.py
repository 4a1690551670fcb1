"""What tokenizer_config.json says."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from rerank_proxy.engine.loading.reading.directory_check import read_json
from rerank_proxy.engine.loading.tokenizers.described import UnusualTokenizerError

NAMES: Final[tuple[str, ...]] = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)
"""The tokens that have a name, in the order of `SPECIAL_TOKENS_ATTRIBUTES` of transformers."""

EXTRA: Final[tuple[str, ...]] = ("extra_special_tokens", "additional_special_tokens")

_WITHOUT_EFFECT: Final = frozenset(
    {
        "add_bos_token",
        "add_eos_token",
        "chat_template",
        "clean_up_tokenization_spaces",
        "errors",
        "is_local",
        "local_files_only",
        "max_length",
        "name_or_path",
        "pad_to_multiple_of",
        "pad_token_type_id",
        "processor_class",
        "sp_model_kwargs",
        "special_tokens_map_file",
        "stride",
        "tokenizer_file",
        "truncation_strategy",
        "use_fast",
        "vocab_type",
    }
)
"""What affects only decoding, chats, or calls that cut or fill up, which are not made; or nothing."""

_ONE_WAY: Final[Mapping[str, tuple[Any, ...]]] = {
    "backend": ("tokenizers",),
    "do_basic_tokenize": (True,),
    "never_split": (None, []),
    "padding_side": ("right", "left"),
    "truncation_side": ("right",),
}
"""What may be said in these ways only."""

_NO_LIMIT: Final = int(1e30)
"""How transformers says that a tokenizer names no limit."""


class Options(msgspec.Struct):
    """The file. What it does not say has the default of the class."""

    tokenizer_class: str | None = None
    model_max_length: float | msgspec.UnsetType | None = msgspec.UNSET
    max_len: float | None = None
    model_input_names: list[str] | None = None
    added_tokens_decoder: dict[str, dict[str, Any]] | None = None
    do_lower_case: bool | msgspec.UnsetType = msgspec.UNSET
    strip_accents: bool | None = None
    tokenize_chinese_chars: bool = True
    add_prefix_space: bool | msgspec.UnsetType = msgspec.UNSET
    trim_offsets: bool = True
    split_by_punct: bool = False
    unk_id: int = 1
    split_special_tokens: bool = False
    tokens: dict[str, Any] = {}
    """What the file says under `NAMES` and `EXTRA`."""

    @property
    def limit(self) -> int:
        """The most tokens of a row."""
        number = self.max_len if self.model_max_length is msgspec.UNSET else self.model_max_length
        return _NO_LIMIT if number is None else int(number)


def read_options(directory: Path) -> Options:
    """Read the options of a directory.

    Raises:
        UnusualTokenizerError: They are not all known here.
        ModelLoadError: The file cannot be read.
    """
    said = read_json(directory / "tokenizer_config.json", dict[str, Any]) or {}
    for name, value in said.items():
        # Compared with the type: 1 equals True.
        ways = _ONE_WAY.get(name, (value,))
        if (
            name not in _KNOWN
            or name == "tokens"
            or not any(type(value) is type(way) and value == way for way in ways)
        ):
            raise UnusualTokenizerError(f"with the option [{name}]")
    try:
        options = msgspec.convert(said, Options)
    except msgspec.ValidationError as error:
        raise UnusualTokenizerError(f"with unusual options ({error})") from error
    options.tokens = {name: said[name] for name in (*NAMES, *EXTRA) if name in said}
    return options


_KNOWN: Final = frozenset({*Options.__struct_fields__, *NAMES, *EXTRA, *_ONE_WAY, *_WITHOUT_EFFECT}) - {
    "tokens"
}
