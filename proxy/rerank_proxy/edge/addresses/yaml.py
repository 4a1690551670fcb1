"""YAML, as Elasticsearch prints it: in blocks, two blanks deeper for each level, with strings in quotes.

A string over several lines goes on at least two blanks deeper than its name, so that no line of one looks
like a name on the way to an address.
"""

import re
from typing import Final

from rerank_proxy.edge.addresses.place import LONGEST

_PUBLISH: Final = re.compile(rb'(      publish_address: ")(?:[^"\\]++|\\.)*+("\s*)')
_BOUND: Final = re.compile(rb'(      - ")(?:[^"\\]++|\\.)*+("\s*)')


class YamlRewriter:
    """Replaces addresses in YAML. Other YAML than Elasticsearch's passes as it is.

    Args:
        address: What each of them becomes; no byte of it needs an escape.
    """

    def __init__(self, address: bytes) -> None:
        self._address = address
        self._rest = b""  # the beginning of a line
        self._in_long_line = False
        self._in_nodes = self._in_http = self._in_list = False

    def feed(self, data: bytes) -> bytes:
        """Take the next piece, and return what can be sent on by now."""
        data = self._rest + data
        sent: list[bytes] = []
        at = 0
        while end := data.find(b"\n", at) + 1:
            if self._in_long_line:
                self._in_long_line = False
                sent.append(data[at:end])
            else:
                sent.append(self._line(data[at:end]))
            at = end
        self._rest = data[at:]
        if len(self._rest) > LONGEST:
            if not self._in_long_line:
                self._line(self._rest)
            self._in_long_line = True
            sent.append(self._rest)
            self._rest = b""
        return b"".join(sent)

    def end(self) -> bytes:
        """Return the rest: the text is complete."""
        return self._rest if self._in_long_line else self._line(self._rest)

    def _line(self, line: bytes) -> bytes:
        """Take a line, or the beginning of one that is too long, and return what becomes of it."""
        name = line.strip()
        indent = len(line) - len(line.lstrip(b" "))
        if indent < 6:
            self._in_list = False
        if indent == 0:
            self._in_nodes = name == b"nodes:"
            self._in_http = False
        elif indent in (2, 4):
            self._in_http = indent == 4 and self._in_nodes and name == b"http:"
        elif indent == 6 and self._in_http:
            return self._line_of_http(line, name)
        return line

    def _line_of_http(self, line: bytes, name: bytes) -> bytes:
        is_item = name.startswith(b"- ")
        if not is_item:
            self._in_list = name == b"bound_address:"
        if is_item and not self._in_list:
            return line
        match = (_BOUND if is_item else _PUBLISH).fullmatch(line)
        if match is None or len(line) > LONGEST:
            return line
        return match[1] + self._address + match[2]
