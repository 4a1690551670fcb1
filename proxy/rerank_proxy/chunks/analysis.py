"""Lucene's ``StandardAnalyzer`` without options: the words of UAX #29, lower-cased, no stop words."""

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

import regex

from rerank_proxy.chunks.words import Words
from rerank_proxy.concurrency.steps import Steps

MAX_TOKEN_LENGTH: Final = 255
"""``StandardTokenizer`` breaks a longer word after so many characters."""

_WINDOW: Final = 4 * MAX_TOKEN_LENGTH
"""Characters in which the next token is searched for: else a word of a million would be read repeatedly."""

_MOST_TERMS: Final = 100_000

_EXTENDED = r"[\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}]*+"


def _grammar() -> str:
    """Return the grammar of ``StandardTokenizerImpl``; characters that begin no token are skipped."""
    letter, numeric, katakana, connector, single_quote, double_quote, hebrew = (
        rf"(?:\p{{WB={name}}}{_EXTENDED})"
        for name in ("ALetter", "Numeric", "Katakana", "ExtendNumLet", "Single_Quote", "Double_Quote",
                     "Hebrew_Letter")
    )  # fmt: skip
    letter = rf"(?:{letter}|{hebrew})"
    mid_letter = rf"(?:[\p{{WB=MidLetter}}\p{{WB=MidNumLet}}\p{{WB=Single_Quote}}]{_EXTENDED})"
    mid_number = rf"(?:[\p{{WB=MidNum}}\p{{WB=MidNumLet}}\p{{WB=Single_Quote}}]{_EXTENDED})"
    quoted = rf"{hebrew}(?:{single_quote}|{double_quote}{hebrew})"
    letters = rf"{quoted}|{letter}(?:{mid_letter}{letter}|(?!{quoted}){letter})*+"
    numbers = rf"{numeric}(?:{mid_number}?{numeric})*+"
    run = rf"(?:(?:{letters}|{numbers})++|{katakana}++)"
    word = rf"{connector}*+{run}(?:{connector}++{run})*+{connector}*+"
    south_east_asian = rf"(?:\p{{LB=SA}}{_EXTENDED})++"
    single = rf"[\p{{Han}}\p{{Hiragana}}]{_EXTENDED}"
    common = rf"[\u3041-\u3096\u3400-\u4DBF\u4E00-\u9FFF]{_EXTENDED}"  # part of `single`, to be found sooner
    return "|".join((common, _emoji(), word, south_east_asian, single))


def _emoji() -> str:
    """Return the grammar of UTS #51's emoji sequences. A selector of text presentation (U+FE0E) ends them."""
    extended = r"(?:(?![\uFE0E\uFE0F])[\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}])"
    char = rf"\u200D*+[\p{{Extended_Pictographic}}\p{{Emoji_Modifier}}]{extended}*+\uFE0F?+"
    joined = r"(?:(?<=\u200D)|(?=\u200D))"
    tags = r"[\U000E0020-\U000E007E]++\U000E007F"
    flag = rf"(?:\p{{Regional_Indicator}}{_EXTENDED}){{2}}"
    keycap = rf"[#*]{extended}*?\uFE0F?\u20E3{extended}*+"
    return rf"{char}(?:{joined}{char})*+(?:{tags})?+|{flag}|{keycap}"


_TOKEN = regex.compile(_grammar())
_ASCII_TOKEN = re.compile(r"[A-Za-z0-9]").search
# Where ICU's words are not Lucene's: in scripts for which ICU has dictionaries, and emoji.
_is_special = regex.compile(
    r"[\p{Han}\p{Hangul}\p{Hiragana}\p{Katakana}\p{LB=SA}"
    r"\p{Extended_Pictographic}\p{Emoji_Modifier}\p{Regional_Indicator}\u20E3]"
).search


class Analyzer:
    """Finds the terms of texts among the words that ICU has found.

    Both follow UAX #29, so that most of ICU's words are Lucene's tokens. Where they may differ, Lucene's
    grammar splits the text again, from blank to blank.
    """

    def __init__(self) -> None:
        self._terms = _Terms()

    def terms(self, words: Words, start: int, end: int) -> Steps[list[str]]:
        """Return the terms of a part of a text, in order."""
        pieces = words.between(start, end)
        if pieces is None:
            part = yield from words.part(start, end)
            return (yield from self.all_terms(part))
        terms = self._terms_of(pieces)
        if self._terms.special.isdisjoint(pieces):
            return terms
        return (yield from self._terms_of_runs(pieces))

    def all_terms(self, words: Words) -> Steps[list[str]]:
        """Return the terms of a text, in order."""
        return self.terms(words, 0, len(words.text))

    def forget(self) -> None:
        """Forget the terms of pieces if they have become many."""
        if len(self._terms) > _MOST_TERMS:
            self._terms = _Terms()

    def _terms_of_runs(self, pieces: Sequence[str]) -> Steps[list[str]]:
        terms: list[str] = []
        for _, run in groupby(pieces, key=_is_blank):
            between_blanks = list(run)
            if self._terms.special.isdisjoint(between_blanks):
                terms += self._terms_of(between_blanks)
            else:
                terms += yield from _tokens(lower_case("".join(between_blanks)))
            yield
        return terms

    def _terms_of(self, pieces: Iterable[str]) -> list[str]:
        return list(filter(None, map(self._terms.__getitem__, pieces)))


class _Terms(dict[str, str]):
    """Remembers the term of each piece; empty for one that is not a term.

    `special` are the pieces for which that depends on their neighbours.
    """

    def __init__(self) -> None:
        self.special: set[str] = set()

    def __missing__(self, piece: str) -> str:
        if len(piece) > MAX_TOKEN_LENGTH or (not piece.isascii() and _is_special(piece)):
            self.special.add(piece)
        self[piece] = term = lower_case(piece) if _is_token(piece) else ""
        return term


def _is_blank(piece: str) -> bool:
    return piece[0] in " \t\r\n"


def _is_token(piece: str) -> bool:
    # Nearly all pieces can be decided without the grammar.
    if piece.isascii():
        return piece.isalnum() or _ASCII_TOKEN(piece) is not None
    return (piece.isalpha() and piece[0] < "\u2e80") or _TOKEN.match(piece) is not None


def _tokens(text: str) -> Steps[list[str]]:
    if len(text) <= MAX_TOKEN_LENGTH:
        return _TOKEN.findall(text)
    tokens: list[str] = []
    offset = 0
    while offset < len(text):
        token = _TOKEN.search(text, offset, offset + _WINDOW)
        if token is not None and token.end() > token.start() + MAX_TOKEN_LENGTH:
            token = _TOKEN.search(text, token.start(), token.start() + MAX_TOKEN_LENGTH)
        if token is not None and (token.end() < offset + _WINDOW or token.start() == offset):
            tokens.append(token[0])
            offset = token.end()
        elif token is not None:
            offset = token.start()  # It continues behind the window.
        else:
            offset += _WINDOW - MAX_TOKEN_LENGTH  # What begins at the end of the window needs what follows.
        yield
    return tokens


def lower_case(text: str) -> str:
    """Lower the case of each character alone (``LowerCaseFilter``); Python treats two of them by context."""
    return text.replace("\u0130", "i").replace("\u03a3", "\u03c3").lower()
