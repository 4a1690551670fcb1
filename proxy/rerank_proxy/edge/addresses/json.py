"""JSON."""

import re
from typing import Final

from rerank_proxy.edge.addresses.place import LONGEST, Place

_STRING: Final = rb'"(?:[^"\\]++|\\.)*+"'
_token = re.compile(rb'[^"{}\[\],]*+([{}\[\],]|' + _STRING + rb")", re.DOTALL).match
_text_before_a_token = re.compile(rb'[^"{}\[\],]*+').match
_bracket = re.compile(rb'(?:[^"{}\[\]]++|' + _STRING + rb")*+([{}\[\]])", re.DOTALL).match
_text_before_a_bracket = re.compile(rb'(?:[^"{}\[\]]++|' + _STRING + rb")*+", re.DOTALL).match
_end_of_string = re.compile(rb'(?:[^"\\]++|\\.)*+"', re.DOTALL).match
_inside_a_string = re.compile(rb"(?:[^\"\\]++|\\.)*+", re.DOTALL).match


class JsonRewriter:
    """Replaces addresses in JSON. What is not JSON passes as it is.

    Args:
        address: What each of them becomes; no byte of it needs an escape.
    """

    def __init__(self, address: bytes) -> None:
        self._address = b'"%b"' % address
        self._place = Place()
        self._rest = b""  # the beginning of a token
        self._in_long_string = False
        self._at_name = False  # the next string is a name, if it stands in an object

    def feed(self, data: bytes) -> bytes:
        """Take the next piece, and return what can be sent on by now."""
        if self._rest:
            data = self._rest + data
        sent: list[bytes] = []
        copied = at = 0
        while True:
            if self._in_long_string:
                at, is_complete = self._leave_long_string(data, at)
            elif self._place.on_the_way:
                start, at, is_complete = self._take_token(data, at)
                if start >= 0:
                    sent += (data[copied:start], self._address)
                    copied = at
            else:
                at, is_complete = self._skip(data, at)
            if not is_complete:
                break
        sent.append(data[copied:at])
        self._rest = data[at:]
        return b"".join(sent)

    def end(self) -> bytes:
        """Return the rest: the text is complete."""
        return self._rest

    # Each returns where it stopped, and whether there may be more to do there.

    def _take_token(self, data: bytes, at: int) -> tuple[int, int, bool]:
        """Take a bracket, a comma or a string; what stands between them does not matter.

        Returns:
            Besides, first, where an address begins that ends where it stopped, or -1.
        """
        match = _token(data, at)
        if match is None:
            before = _text_before_a_token(data, at)
            assert before is not None
            return -1, *self._wait_for_string(data, before.end())
        token = match[1]
        start, end = match.span(1)
        if token[:1] != b'"':
            self._take_mark(token)
        elif self._at_name:
            self._at_name = False
            self._place.named(token[1:-1] if len(token) <= LONGEST else b"")
        elif self._place.at_address and len(token) <= LONGEST:
            return start, end, True
        return -1, end, True

    def _take_mark(self, mark: bytes) -> None:
        if mark in b"{[":
            self._at_name = mark == b"{"
            self._place.opened(is_object=self._at_name)
        elif mark == b",":
            self._at_name = self._place.in_object
        elif self._place.depth:
            self._place.closed()
            self._at_name = False

    def _skip(self, data: bytes, at: int) -> tuple[int, bool]:
        """Go on to the next bracket."""
        match = _bracket(data, at)
        if match is None:
            before = _text_before_a_bracket(data, at)
            assert before is not None
            return self._wait_for_string(data, before.end())
        self._take_mark(match[1])
        return match.end(), True

    def _wait_for_string(self, data: bytes, start: int) -> tuple[int, bool]:
        """Wait for the rest of a string that may begin at `start`, unless it is too long to matter."""
        if len(data) - start <= LONGEST:
            return start, False
        if self._at_name and self._place.on_the_way:
            self._place.named(b"")
        self._at_name = False
        self._in_long_string = True
        return start + 1, True

    def _leave_long_string(self, data: bytes, at: int) -> tuple[int, bool]:
        if match := _end_of_string(data, at):
            self._in_long_string = False
            return match.end(), True
        inside = _inside_a_string(data, at)
        assert inside is not None
        return inside.end(), False  # behind it, half an escape may be left
