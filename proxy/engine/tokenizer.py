"""Texts to token ids."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # who waits for a model to load need not wait for the library
    import tokenizers

_CHARACTERS_PER_TOKEN: Final = 16
"""More than a token of ordinary text has. See `PlainTokenizer.ids`."""

_CUT_MARGIN_TOKENS: Final = 16
_CUT_SEARCH_CHARACTERS: Final = 256


class PlainTokenizer(ABC):
    """Gives plain token ids, without special tokens. Its methods may be called from any thread."""

    def ids(self, texts: Sequence[str], enough: int) -> list[list[int]]:
        """Token ids of each text without special tokens; of a very long text only its beginning.

        Tokenising megabytes of which a few hundred tokens are kept would take seconds. The beginning is cut
        at white space, where tokenisers split as well, so that its tokens are the first ones of the whole.

        Args:
            enough: Tokens of a text that matter; where a text has more, at least so many are returned.
        """
        heads = [beginning(text, enough) for text in texts]
        ids = self._plain_ids(heads)
        wanted = enough + _CUT_MARGIN_TOKENS
        short = [
            at
            for at, (text, head) in enumerate(zip(texts, heads, strict=True))
            if len(head) < len(text) and len(ids[at]) < wanted
        ]
        if short:
            for at, whole in zip(short, self._plain_ids([texts[at] for at in short]), strict=True):
                ids[at] = whole
        return ids

    @abstractmethod
    def _plain_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """All of them, of the texts as they are."""


class FastTokenizer(PlainTokenizer):
    """A tokenizer of the tokenizers library, which cuts and pads nothing."""

    def __init__(self, tokenizer: "tokenizers.Tokenizer") -> None:
        self._tokenizer = tokenizer

    def _plain_ids(self, texts: Sequence[str]) -> list[list[int]]:
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]


class Tokenizer(PlainTokenizer):
    """A transformers tokenizer.

    Args:
        tokenizer: A `PreTrainedTokenizerBase`, owned by this object from now on.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.transformers = tokenizer
        self.gives_type_ids = "token_type_ids" in tokenizer.model_input_names
        self._fast = FastTokenizer(tokenizer.backend_tokenizer) if tokenizer.is_fast else None
        self.freeze()

    def freeze(self) -> None:
        """Undo what calls of the transformers object set: here nothing is cut or padded on the way."""
        if self._fast is not None:
            self.transformers.backend_tokenizer.no_truncation()
            self.transformers.backend_tokenizer.no_padding()

    def _plain_ids(self, texts: Sequence[str]) -> list[list[int]]:
        if self._fast is not None:
            return self._fast._plain_ids(texts)
        return [self.transformers.encode(text, add_special_tokens=False) for text in texts]


def beginning(text: str, tokens: int) -> str:
    """Characters that hold so many tokens of ordinary text; cut at white space where there is some."""
    limit = tokens * _CHARACTERS_PER_TOKEN
    if len(text) <= limit:
        return text
    start = max(0, limit - _CUT_SEARCH_CHARACTERS)
    cut = max(text.rfind(" ", start, limit), text.rfind("\n", start, limit))
    return text[: cut if cut > 0 else limit]
