"""PyYAML's emitter, made to write double-quoted text as SnakeYAML does."""

import re
from collections.abc import Iterator
from typing import Final

from yaml.emitter import Emitter, ScalarAnalysis

WIDTH: Final = 80
"""The column after which SnakeYAML looks for a place to go on in the next line."""

_split: Final = re.compile(r"[!#-\[\]-~]+|.", re.DOTALL).findall
_NAMED: Final = {
    "\0": "0", "\a": "a", "\b": "b", "\t": "t", "\n": "n", "\v": "v", "\f": "f", "\r": "r", "\x1b": "e",
    '"': '"', "\\": "\\", "\x85": "N", "\xa0": "_", "\u2028": "L", "\u2029": "P",
}  # fmt: skip
_line_break: Final = re.compile("[\n\x85\u2028\u2029]").search
_printable: Final = re.compile("[ -~\xa1-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]").fullmatch


class SnakeEmitter(Emitter):
    """Emits as SnakeYAML does, which escapes other characters than PyYAML and breaks lines elsewhere."""

    def analyze_scalar(self, scalar: str) -> ScalarAnalysis:
        """Skip PyYAML's analysis of each character, which is slow and needless where the style is decided."""
        if getattr(self.event, "style", None) == '"':
            lines = _line_break(scalar) is not None
            return ScalarAnalysis(scalar, not scalar, lines, False, False, False, True, False)
        return super().analyze_scalar(scalar)

    def write_double_quoted(self, text: str, split: bool = True) -> None:
        self.write_indicator('"', True)
        self.stream.write("".join(self._pieces(text, split)))
        self.whitespace = self.indention = False
        self.write_indicator('"', False)

    def _pieces(self, text: str, split: bool) -> Iterator[str]:
        """Escape `text` and give it with the breaks in it, counting columns on the way.

        Breaks may be at spaces and after characters that are not plain ASCII.
        """
        place, last = 0, _utf16_length(text) - 1
        after_special = False
        for piece in _split(text):
            special = piece in _NAMED or not " " <= piece[0] <= "~"
            breakable = 0 < place < last and not special and (after_special or piece == " ")
            # SnakeYAML looks once right after a special character, where it counts one column less.
            crowded = after_special and place > 1 and self.column - 1 > WIDTH
            if split and (crowded or (breakable and self.column > WIDTH)):
                # A space would be lost at the beginning of a line.
                yield "\\\n" + " " * (self.indent or 0) + ("\\" if piece == " " else "")
                self.column = (self.indent or 0) + (piece == " ")
            written = _escaped(piece) if special else piece
            yield written
            self.column += _utf16_length(written) if special else len(written)
            place += _utf16_length(piece) if special else len(piece)
            after_special = special


def _escaped(character: str) -> str:
    if character in _NAMED:
        return "\\" + _NAMED[character]
    if _printable(character):
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"


def _utf16_length(text: str) -> int:
    """Return Java's length of a string."""
    return len(text) + sum(character > "\uffff" for character in text) if not text.isascii() else len(text)
