"""Words so long that a tokenizer knows none of them: how much there is of one does not matter."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import tokenizers

Shorten = Callable[[str], str]

_LETTERS: Final = "0-9A-Za-z"
_INNER: Final = re.compile(rf"(?:[^{_LETTERS}]|(?<=[^{_LETTERS}])[{_LETTERS}]+(?=[^{_LETTERS}]))*", re.DOTALL)
"""Letters and digits only between other characters: then no run of them that is longer holds the token."""


def shortener(tokenizer: "tokenizers.Tokenizer") -> Shorten:
    """What makes texts shorter without another effect on their ids.

    WordPiece makes one unknown token of a word that is too long for it. BERT's rules never part letters and
    digits of ASCII, nor remove any, whatever stands around them. So a run of these that is longer than a
    word may be is an unknown word with its rest and without. For other tokenizers nothing is said.
    """
    longest = getattr(tokenizer.model, "max_input_chars_per_word", None)
    if longest is None or not _has_berts_rules(tokenizer) or not _keeps_runs(tokenizer, longest):
        return _same
    run = re.compile(rf"(?<![{_LETTERS}])([{_LETTERS}]{{{longest + 1}}})[{_LETTERS}]+")
    return lambda text: run.sub(r"\1", text)


def _has_berts_rules(tokenizer: "tokenizers.Tokenizer") -> bool:
    parts = (tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.model)
    names = tuple(type(part).__name__ for part in parts)
    return names == ("BertNormalizer", "BertPreTokenizer", "WordPiece")


def _keeps_runs(tokenizer: "tokenizers.Tokenizer", longest: int) -> bool:
    """Whether no token that is found in texts before all others can be in such a run."""
    added = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    return all(len(content) <= longest and _INNER.fullmatch(content) for content in added)


def _same(text: str) -> str:
    return text
