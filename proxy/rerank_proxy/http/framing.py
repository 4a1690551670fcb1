"""Where a message body ends (RFC 9112 §6, §7.1).

`request_body` and `response_body` decide how a body is delimited. Each of the classes that they choose from
follows one body through the pieces in which it arrives and says how many bytes belong to it. The bytes
themselves are neither changed nor kept.
"""

import re
from collections.abc import Iterable, Iterator
from typing import ClassVar, Protocol

from rerank_proxy.http.grammar import FIELD_LINE, TOKEN
from rerank_proxy.http.head import RequestHead, ResponseHead

MAX_CHUNK_LINE = 4096
"""Bytes of one chunk-size line with its extensions."""
MAX_TRAILERS = 16 * 1024
"""Bytes of all trailer fields."""

_WITHOUT_BODY = (204, 304)
"""Statuses whose responses never have a body."""

_QUOTED = rb"\"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*+\""
_EXTENSION = rb"[\t ]*;[\t ]*" + TOKEN + rb"(?:[\t ]*=[\t ]*(?:" + TOKEN + rb"|" + _QUOTED + rb"))?"
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:" + _EXTENSION + rb")*+\r\n")
_HEX_DIGITS = b"0123456789abcdefABCDEF"
_TRAILER_LINE = re.compile(FIELD_LINE)


class FramingError(Exception):
    """A body whose framing breaks the grammar."""


class Body(Protocol):
    """Follows one body.

    Attributes:
        done: Its last byte was seen.
        until_close: Only the end of its connection ends it.
    """

    done: bool
    until_close: ClassVar[bool]

    def feed(self, data: bytes, start: int = 0, payload: list[bytes] | None = None) -> int:
        """Take the next piece, `data[start:]`.

        Args:
            payload: Gets the parts of the piece that are content, without framing.

        Returns:
            The index in `data` where this body stops: `len(data)`, or less when other bytes follow it.

        Raises:
            FramingError: the piece breaks the framing.
        """
        ...


class SizedBody:
    """A body of a known number of bytes."""

    __slots__ = ("_left", "done")
    until_close: ClassVar = False

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0

    def feed(self, data: bytes, start: int = 0, payload: list[bytes] | None = None) -> int:
        end = start + self._left
        if end > len(data):
            end = len(data)
        self._left -= end - start
        self.done = self._left == 0
        if payload is not None:
            payload.append(data[start:end])
        return end


class BodyUntilClose:
    """A response body that ends with its connection."""

    __slots__ = ("done",)
    until_close: ClassVar = True

    def __init__(self) -> None:
        self.done = False

    def feed(self, data: bytes, start: int = 0, payload: list[bytes] | None = None) -> int:
        if payload is not None:
            payload.append(data[start:])
        return len(data)


# The part of a chunked body that comes next.
_SIZE, _CONTENT, _CONTENT_END, _TRAILER = range(4)


class ChunkedBody:
    """A body in chunks, with extensions and trailers."""

    __slots__ = ("_expected", "_left", "_partial", "_trailer_bytes", "done")
    until_close: ClassVar = False

    def __init__(self) -> None:
        self.done = False
        self._expected = _SIZE
        self._left = 0
        self._partial = b""
        self._trailer_bytes = 0

    def feed(self, data: bytes, start: int = 0, payload: list[bytes] | None = None) -> int:
        position = start
        size = len(data)
        while position < size and not self.done:
            if self._expected == _CONTENT:
                end = min(position + self._left, size)
                if payload is not None:
                    payload.append(data[position:end])
                self._left -= end - position
                if not self._left:
                    self._expected = _CONTENT_END
                position = end
            elif self._expected == _SIZE and not self._partial:
                position = self._feed_chunks(data, position, payload) or self._feed_line(data, position)
            else:
                position = self._feed_line(data, position)
        return position

    def _feed_chunks(self, data: bytes, start: int, payload: list[bytes] | None) -> int:
        """Take whole chunks in a loop: a piece may hold tens of thousands of small ones.

        Returns:
            Where the first incomplete or malformed chunk begins; 0 when that is `start`.
        """
        position = start
        while match := _CHUNK_LINE.match(data, position):
            begin = match.end()
            end = begin + int(match[1], 16)
            if end == begin or data[end : end + 2] != b"\r\n" or begin - position > MAX_CHUNK_LINE:
                break
            if payload is not None:
                payload.append(data[begin:end])
            position = end + 2
        return position if position > start else 0

    def _feed_line(self, data: bytes, start: int) -> int:
        """Take one line of framing, or the beginning of one."""
        end = data.find(b"\n", start) + 1
        if self._partial or not end:
            line = self._partial + (data[start:end] if end else data[start:])
        else:
            line = data[start:end]
        if len(line) > MAX_CHUNK_LINE:
            raise FramingError("a line of its chunk framing is too long")
        if not end:
            self._check_beginning(line)
            self._partial = line
            return len(data)
        self._partial = b""
        if self._expected == _CONTENT_END:
            if line != b"\r\n":
                raise FramingError("a chunk is longer than its size says")
            self._expected = _SIZE
        elif self._expected == _SIZE:
            self._take_size(line)
        else:
            self._take_trailer(line)
        return end

    def _check_beginning(self, line: bytes) -> None:
        """Refuse the beginning of a line that no continuation can make valid: its rest may never come."""
        if self._expected == _CONTENT_END and line != b"\r":
            raise FramingError("a chunk is longer than its size says")
        if self._expected == _SIZE and line[:1] not in _HEX_DIGITS:
            raise FramingError("a chunk has no size")
        if b"\r" in line[:-1]:
            raise FramingError("a line of its chunk framing has no end")

    def _take_size(self, line: bytes) -> None:
        match = _CHUNK_LINE.fullmatch(line)
        if match is None:
            raise FramingError("a chunk size is malformed")
        self._left = int(match[1], 16)
        self._expected = _CONTENT if self._left else _TRAILER

    def _take_trailer(self, line: bytes) -> None:
        if line == b"\r\n":
            self.done = True
            return
        self._trailer_bytes += len(line)
        if self._trailer_bytes > MAX_TRAILERS:
            raise FramingError("its trailers are too long")
        if not _TRAILER_LINE.fullmatch(line):
            raise FramingError("a trailer is malformed")


def request_body(head: RequestHead) -> Body | None:
    """Return the framing of a request's body, or None for a request without one (RFC 9112 §6.3)."""
    if head.fields.chunked:
        return ChunkedBody()
    return SizedBody(head.length) if head.length else None


def response_body(head: ResponseHead, method: bytes = b"GET") -> Body:
    """Return the framing of the body of a final response (RFC 9112 §6.3).

    Args:
        method: The method of the request; a response to `HEAD` has no body.
    """
    if method == b"HEAD" or head.status in _WITHOUT_BODY:
        return SizedBody(0)
    if head.chunked:
        return ChunkedBody()
    return BodyUntilClose() if head.length is None else SizedBody(head.length)


def content(pieces: Iterable[bytes], *, chunked: bool) -> Iterable[bytes]:
    """Yield the content of a complete body without its framing, piece by piece."""
    return _dechunk(pieces) if chunked else pieces


def _dechunk(pieces: Iterable[bytes]) -> Iterator[bytes]:
    body = ChunkedBody()
    for piece in pieces:
        parts: list[bytes] = []
        body.feed(piece, 0, parts)
        yield from parts
