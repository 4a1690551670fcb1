"""What tokenizer.json says, as far as more than the library tokenizers has to know it."""

from typing import Any, TypeVar

import msgspec

from rerank_proxy.engine.errors import ModelLoadError

_T = TypeVar("_T")


class UnusualTokenizerError(ModelLoadError):
    """The files of a tokenizer say something for which transformers is needed."""


class Model(msgspec.Struct):
    """The algorithm and its vocabulary."""

    type: str | None = None
    """Older files do not say it."""
    vocab: dict[str, int] | list[tuple[str, float]] | None = None
    merges: list[str | tuple[str, str]] = []


class _Padding(msgspec.Struct):
    pad_token: str


class Described(msgspec.Struct):
    """The file."""

    model: msgspec.Raw
    added_tokens: list[dict[str, Any]] = []
    normalizer: Any = None
    post_processor: Any = None
    padding: _Padding | None = None

    @classmethod
    def of(cls, content: bytes) -> "Described":
        """Decode the file.

        Raises:
            UnusualTokenizerError: It is damaged, or of another form.
        """
        return _decode(content, cls)

    def decoded_model(self) -> Model:
        """Decode the model, which takes long.

        Raises:
            UnusualTokenizerError: It is of another form.
        """
        return _decode(self.model, Model)


def _decode(content: bytes | msgspec.Raw, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnusualTokenizerError(f"whose tokenizer.json is of another form ({error})") from error
