"""Shorten words that are too long for a tokenizer to know: how long they are does not affect the tokens."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import tokenizers

Shorten = Callable[[str], str]

_LETTERS: Final = "0-9A-Za-z"
_INNER: Final = re.compile(rf"(?:[^{_LETTERS}]|(?<=[^{_LETTERS}])[{_LETTERS}]+(?=[^{_LETTERS}]))*", re.DOTALL)
"""Letters and digits only between other characters: such a token is never inside a longer run of them."""


def shortener(tokenizer: "tokenizers.Tokenizer") -> Shorten:
    """Return a function that shortens texts without changing their ids.

    WordPiece makes one unknown token of a word that is too long for it. BERT's rules never split or remove
    letters and digits of ASCII, no matter what is around them. So a run of these that is longer than a word
    may be is an unknown word, with or without its rest. Texts for other tokenizers are left as they are.
    """
    longest = getattr(tokenizer.model, "max_input_chars_per_word", None)
    if longest is None or not _has_berts_rules(tokenizer) or not _keeps_runs(tokenizer, longest):
        return _unchanged
    run = re.compile(rf"(?<![{_LETTERS}])([{_LETTERS}]{{{longest + 1}}})[{_LETTERS}]+")
    return lambda text: run.sub(r"\1", text)


def _has_berts_rules(tokenizer: "tokenizers.Tokenizer") -> bool:
    parts = (tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.model)
    names = tuple(type(part).__name__ for part in parts)
    return names == ("BertNormalizer", "BertPreTokenizer", "WordPiece")


def _keeps_runs(tokenizer: "tokenizers.Tokenizer", longest: int) -> bool:
    """Return whether no added token, which is found in texts before all others, can be in such a run."""
    added = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    return all(len(content) <= longest and _INNER.fullmatch(content) for content in added)


def _unchanged(text: str) -> str:
    return text
