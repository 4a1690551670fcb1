"""Tokenise texts, and of long texts no more than matters."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from rerank_proxy.engine.encoding.shortening import shortener

if TYPE_CHECKING:  # The library is imported when a model is loaded.
    import tokenizers

_CHARACTERS_PER_TOKEN: Final = 16
"""More than a token of ordinary text has. See `PlainTokenizer.ids`."""

_LEAST_GROWTH: Final = 2
_MOST_GROWTH: Final = 4
"""How many times more is read of a text whose beginning had too few tokens."""

_RESERVE: Final = 1.25
"""So many times what the beginning suggests is read next."""

_CUT_MARGIN_TOKENS: Final = 128
"""Tokens at the end of a beginning that may differ from the whole's: those of a word that was cut."""

_CUT_SEARCH_CHARACTERS: Final = 256

PIECE_CHARACTERS: Final = 65_536
"""Characters that are tokenised in one step, so that other calls soon have their turn: some 20 ms."""

Ids = list[list[int]]


class PlainTokenizer(ABC):
    """Makes plain token ids, without special tokens. Its methods may be called from any thread."""

    def ids(self, texts: Sequence[str], enough: int) -> Iterator[Ids]:
        """Yield the token ids of each text, in several lists; of a long text only those of its beginning.

        Tokenising megabytes of which a few hundred tokens are kept would take seconds. The beginning is cut
        at white space, where tokenizers split as well, so that its tokens are the first ones of the whole.
        If it has too few tokens, as one of a single word does, more of the text is read, and in the end all.
        Between two lists, which may be empty, other calls can have their turn.

        Args:
            enough: The tokens of a text that matter; of one that has more, at least so many are yielded.
        """
        heads = [beginning(text, _characters(enough)) for text in texts]
        for start, end in portions(heads, PIECE_CHARACTERS):
            ids = self._plain_ids(heads[start:end])
            for at in range(start, end):
                _, grown = yield from self._grown(texts[at], heads[at], ids[at - start], enough)
                yield [grown]

    def beginning_of(self, text: str, enough: int) -> Generator[Ids, None, str]:
        """Return a beginning of the text that has so many tokens, or the text.

        Yields empty lists, between which other calls can have their turn.
        """
        head = beginning(text, _characters(enough))
        if len(head) < len(text):
            (ids,) = self._plain_ids([head])
            head, _ = yield from self._grown(text, head, ids, enough)
        return head

    def _grown(
        self, text: str, head: str, ids: list[int], enough: int
    ) -> Generator[Ids, None, tuple[str, list[int]]]:
        """Read more than the head of a text until it has enough tokens. Return what was read, and its ids."""
        limit = _characters(enough)
        while len(head) < len(text) and len(ids) < enough + _CUT_MARGIN_TOKENS:
            yield []
            text = self._shortened(text)
            limit *= _growth(enough + _CUT_MARGIN_TOKENS, len(ids))
            head = beginning(text, limit)
            (ids,) = self._plain_ids([head])
        return head, ids

    def ends(self, text: str, enough: int) -> tuple[list[int], list[int]] | None:
        """Return the ids of a text's beginning, and for each the place of the character behind its token.

        Args:
            enough: The tokens that matter; if the text has more, at least so many are returned.

        Returns:
            None where the tokenizer does not tell.
        """
        limit = _characters(enough)
        while (found := self._ends(beginning(text, limit))) is not None:
            if limit >= len(text) or len(found[0]) >= enough + _CUT_MARGIN_TOKENS:
                return found
            limit *= _MOST_GROWTH
        return None

    def _ends(self, text: str) -> tuple[list[int], list[int]] | None:
        """Return ids and places as `ends` does, of all of the text."""
        return None

    def decoded(self, ids: Sequence[int]) -> str | None:
        """Return what token ids say, special tokens included; None where the tokenizer does not tell."""
        return None

    def _shortened(self, text: str) -> str:
        """Return a text with the same ids, without parts that do not affect them."""
        return text

    @abstractmethod
    def _plain_ids(self, texts: Sequence[str]) -> Ids:
        """Return all ids of the texts as they are."""


@dataclass(frozen=True, slots=True)
class View:
    """What a text becomes before it is tokenised.

    Attributes:
        lead: Put before it.
        strips: White space around both together is removed.
        reach: Where a text is divided, returns how many of its ids the windows have, given the ids and how
            many of them the first window has.
    """

    tokenizer: PlainTokenizer
    lead: str = ""
    strips: bool = False
    reach: Callable[[Sequence[int], int], int] | None = None

    def whole(self, text: str) -> tuple[str, int]:
        """Return what is tokenised, and how many characters of it come before the text's own first one; fewer
        than none where the text's own were removed.
        """
        whole = self.lead + text
        if not self.strips:
            return whole, len(self.lead)
        removed = len(whole) - len(whole.lstrip())
        return whole.strip(), len(self.lead) - removed


class SpecialTokenizer(PlainTokenizer):
    """A tokenizer that knows the special tokens around texts, too."""

    @abstractmethod
    def with_special_tokens(self, text: str, second: str | None = None) -> Mapping[str, list[int]]:
        """Return the `input_ids`, and the `token_type_ids` if it has these, of a text or a pair."""


class FastTokenizer(SpecialTokenizer):
    """A tokenizer of the tokenizers library, which cuts and pads nothing."""

    def __init__(self, tokenizer: "tokenizers.Tokenizer") -> None:
        self._tokenizer = tokenizer
        self._shorten = shortener(tokenizer)

    def _shortened(self, text: str) -> str:
        return self._shorten(text)

    def _plain_ids(self, texts: Sequence[str]) -> Ids:
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def _ends(self, text: str) -> tuple[list[int], list[int]]:
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return encoding.ids, [end for _, end in encoding.offsets]

    def decoded(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=False)

    def with_special_tokens(self, text: str, second: str | None = None) -> Mapping[str, list[int]]:
        encoding = self._tokenizer.encode(text, second)
        return {"input_ids": encoding.ids, "token_type_ids": encoding.type_ids}


class Tokenizer(SpecialTokenizer):
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
        """Undo truncation and padding, which calls of the transformers object set."""
        if self._fast is not None:
            self.transformers.backend_tokenizer.no_truncation()
            self.transformers.backend_tokenizer.no_padding()

    def _shortened(self, text: str) -> str:
        return text if self._fast is None else self._fast._shortened(text)

    def _ends(self, text: str) -> tuple[list[int], list[int]] | None:
        return None if self._fast is None else self._fast._ends(text)

    def decoded(self, ids: Sequence[int]) -> str | None:
        return None if self._fast is None else self._fast.decoded(ids)

    def _plain_ids(self, texts: Sequence[str]) -> Ids:
        if self._fast is not None:
            return self._fast._plain_ids(texts)
        return [self.transformers.encode(text, add_special_tokens=False) for text in texts]

    def with_special_tokens(self, text: str, second: str | None = None) -> Mapping[str, list[int]]:
        # Only in a batch does transformers keep an empty text of a pair.
        encoded = self.transformers([text], None if second is None else [second])
        self.freeze()
        return {name: rows[0] for name, rows in encoded.items()}


def beginning(text: str, limit: int) -> str:
    """Return at most `limit` characters of a text, cut at white space if there is some near the end."""
    if len(text) <= limit:
        return text
    start = max(0, limit - _CUT_SEARCH_CHARACTERS)
    cut = max(text.rfind(" ", start, limit), text.rfind("\n", start, limit))
    return text[: cut if cut > 0 else limit]


def portions(texts: Sequence[str], characters: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of portions of the texts that have at most so many characters, or are one text."""
    start = taken = 0
    for at, text in enumerate(texts):
        if at > start and taken + len(text) > characters:
            yield start, at
            start, taken = at, 0
        taken += len(text)
    if start < len(texts):
        yield start, len(texts)


def _characters(tokens: int) -> int:
    """Return how many characters are read at first, for so many tokens and some more of ordinary text."""
    return min((tokens + _CUT_MARGIN_TOKENS) * _CHARACTERS_PER_TOKEN, PIECE_CHARACTERS)


def _growth(wanted: int, found: int) -> int:
    """Return how many times more to read of a text whose beginning has `found` of `wanted` tokens."""
    suggested = ceil(_RESERVE * wanted / found) if found else _MOST_GROWTH
    return min(_MOST_GROWTH, max(_LEAST_GROWTH, suggested))
