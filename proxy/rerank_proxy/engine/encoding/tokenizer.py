"""Texts to token ids."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from rerank_proxy.engine.encoding.words import shortener

if TYPE_CHECKING:  # who waits for a model to load need not wait for the library
    import tokenizers

_CHARACTERS_PER_TOKEN: Final = 16
"""More than a token of ordinary text has. See `PlainTokenizer.ids`."""

_GROWTH: Final = 4
"""So many times more is looked at where a beginning had too few tokens."""

_CUT_MARGIN_TOKENS: Final = 128
"""At the end of a beginning that may be others in the whole: those of a word that was cut."""

_CUT_SEARCH_CHARACTERS: Final = 256

PIECE_CHARACTERS: Final = 65_536
"""Of the texts that are tokenised in one go, so that others soon have their turn: some 20 milliseconds."""

Ids = list[list[int]]


class PlainTokenizer(ABC):
    """Gives plain token ids, without special tokens. Its methods may be called from any thread."""

    def ids(self, texts: Sequence[str], enough: int) -> Iterator[Ids]:
        """Token ids of each text without special tokens, in several lists; of a long text only its beginning.

        Tokenising megabytes of which a few hundred tokens are kept would take seconds. The beginning is cut
        at white space, where tokenisers split as well, so that its tokens are the first ones of the whole.
        Where it has too few tokens, such as one of a single word, more of the text is looked at, and in the
        end all. Between two lists, which may be empty, others can have their turn.

        Args:
            enough: Tokens of a text that matter; where a text has more, at least so many are returned.
        """
        heads = [beginning(text, _characters(enough)) for text in texts]
        for start, end in portions(heads, PIECE_CHARACTERS):
            ids = self._plain_ids(heads[start:end])
            for at in range(start, end):
                yield from self._grown(ids[at - start], texts[at], heads[at], enough)

    def _grown(self, ids: list[int], text: str, head: str, enough: int) -> Iterator[Ids]:
        """The ids of a text, of whose beginning there are some."""
        limit = _characters(enough)
        all_is_read = len(head) == len(text)
        while not all_is_read and len(ids) < enough + _CUT_MARGIN_TOKENS:
            yield []
            text = self._shortened(text)
            limit *= _GROWTH
            head = beginning(text, limit)
            (ids,) = self._plain_ids([head])
            all_is_read = len(head) == len(text)
        yield [ids]

    def _shortened(self, text: str) -> str:
        """A text with the same ids, without what is of no account to them."""
        return text

    @abstractmethod
    def _plain_ids(self, texts: Sequence[str]) -> Ids:
        """All of them, of the texts as they are."""


class FastTokenizer(PlainTokenizer):
    """A tokenizer of the tokenizers library, which cuts and pads nothing."""

    def __init__(self, tokenizer: "tokenizers.Tokenizer") -> None:
        self._tokenizer = tokenizer
        self._shorten = shortener(tokenizer)

    def _shortened(self, text: str) -> str:
        return self._shorten(text)

    def _plain_ids(self, texts: Sequence[str]) -> Ids:
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

    def enough_of(self, text: str, tokens: int) -> str:
        """A beginning of the text that has so many tokens, or the text."""
        limit = _characters(tokens)
        head = beginning(text, limit)
        while len(head) < len(text) and len(self._plain_ids([head])[0]) < tokens + _CUT_MARGIN_TOKENS:
            limit *= _GROWTH
            head = beginning(text, limit)
        return head

    def _shortened(self, text: str) -> str:
        return text if self._fast is None else self._fast._shortened(text)

    def _plain_ids(self, texts: Sequence[str]) -> Ids:
        if self._fast is not None:
            return self._fast._plain_ids(texts)
        return [self.transformers.encode(text, add_special_tokens=False) for text in texts]


def beginning(text: str, limit: int) -> str:
    """As many characters of a text at most; cut at white space where there is some."""
    if len(text) <= limit:
        return text
    start = max(0, limit - _CUT_SEARCH_CHARACTERS)
    cut = max(text.rfind(" ", start, limit), text.rfind("\n", start, limit))
    return text[: cut if cut > 0 else limit]


def portions(texts: Sequence[str], characters: int) -> Iterator[tuple[int, int]]:
    """Where the texts may be parted so that each part has no more characters, or is one text."""
    start = taken = 0
    for at, text in enumerate(texts):
        if at > start and taken + len(text) > characters:
            yield start, at
            start, taken = at, 0
        taken += len(text)
    if start < len(texts):
        yield start, len(texts)


def _characters(tokens: int) -> int:
    """Of ordinary text, in which there are so many tokens and some more."""
    return (tokens + _CUT_MARGIN_TOKENS) * _CHARACTERS_PER_TOKEN
