"""Request and response heads: a strict reading of RFC 9112 that keeps the bytes.

A head is never rebuilt. It is checked against the grammar as a whole, and the few fields that decide on
framing and the connection are read. What is forwarded is the same bytes without the lines that belong to one
connection (RFC 9110 §7.6.1). Being strict is on purpose: where two parsers disagree about the end of a
message, requests can be smuggled, so anything outside the grammar is refused.

Most heads repeat what was read a moment ago: a client sends the same fields with every request, and
Elasticsearch answers with the same, but for the length of the body. So what was read is remembered by the
bytes that it was read from, without the length (`REMEMBERED` of requests and of answers, of which the least
recently used is forgotten first). These bytes hold credentials: they stay in this process, and are compared
only as a whole.
"""

import re
from collections.abc import Set
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from rerank_proxy.http import grammar
from rerank_proxy.http.hop_by_hop import OF_THE_CONNECTION

_HOP_NAMES = tuple(name.encode() for name in OF_THE_CONNECTION)
_REQUEST_FIELDS = grammar.lines_of(
    b"host",
    b"content-type",
    b"content-length",
    b"content-encoding",
    b"transfer-encoding",
    b"expect",
    *_HOP_NAMES,
)
_RESPONSE_FIELDS = grammar.lines_of(b"content-length", b"transfer-encoding", *_HOP_NAMES)
_HOP_LINES = grammar.lines_of(*_HOP_NAMES)
_EXPECT_LINES = grammar.lines_of(b"expect")
_TRANSFER_ENCODING_LINES = grammar.lines_of(b"transfer-encoding")
_HOST_LINE = re.compile(rb"(\r\n(?i:host):)[^\r]*")

# 18 digits are beyond any body, and fit the 64-bit integers of any parser upstream.
_MAX_LENGTH_DIGITS = 18
_CLOSE = {b"close"}
_COVERED_OPTIONS = frozenset({b"close", *_HOP_NAMES})
_NEVER_OPTIONS = frozenset({b"content-length", b"transfer-encoding", b"host"})
_LENGTH = b"\r\ncontent-length:"


REMEMBERED: Final = 256
"""How many fields of requests, and heads of answers, are remembered."""
MAX_REMEMBERED_BYTES: Final = 2048
"""The most bytes of one of them: all together take a megabyte or two."""

_PHRASES = {413: "Request Entity Too Large"}
"""Reason phrases of Elasticsearch that differ from those of some version of Python."""


class HeadError(Exception):
    """A head that breaks the grammar. `reason` is for people and never repeats what was sent.

    Args:
        status: The status that the client gets if it is a request's head.
    """

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class Fields:
    """What the fields of a head say, but for the length of the body. Heads with the same bytes share it.

    Attributes:
        chunked: The body is in chunks.
        keep_alive: The sender allows a further message on its connection.
    """

    # Defaults of the class, so that an object sets only what differs from them.
    chunked = False
    keep_alive = True
    _has_length = False
    _hop_lines = 0
    _last_hop_name = b""
    _options: Set[bytes] = frozenset()

    def _read_length(self) -> None:
        if self._has_length:
            raise HeadError("Content-Length is given twice")
        self._has_length = True

    def _read_transfer_encoding(self, value: bytes) -> None:
        if value != b"chunked" or self.chunked:
            raise HeadError("Transfer-Encoding other than one [chunked] is not supported", 501)
        self.chunked = True

    def _read_hop_field(self, name: bytes, value: bytes) -> None:
        self._hop_lines += 1
        self._last_hop_name = name
        if name != b"connection":
            return
        if value == b"keep-alive":  # as most clients send it: it changes nothing
            return
        options = {option.strip(b"\t ") for option in value.split(b",")}
        options.discard(b"")
        if isinstance(self._options, set):
            self._options |= options  # in place: there may be thousands of such lines
        else:
            self._options = options
        if b"close" in options:
            self.keep_alive = False
        # Without such a field the next recipient would see another message than was sent.
        if not options.isdisjoint(_NEVER_OPTIONS):
            raise HeadError("Connection lists a field that every recipient needs")

    def _check_framing(self) -> None:
        if self.chunked and self._has_length:
            raise HeadError("Transfer-Encoding is not allowed beside Content-Length")

    def without_hop_lines(self, raw: bytes) -> bytes:
        """Return a head that has these fields without those of the connection."""
        if not self._hop_lines:
            return raw
        if self._hop_lines == 1:  # `Connection: keep-alive`, as a rule
            raw = grammar.without_line(raw, self._last_hop_name)
        else:
            raw = grammar.without_lines(raw, _HOP_LINES, self._hop_lines)
        listed = self._options - _COVERED_OPTIONS
        return grammar.without_fields(raw, listed) if listed else raw


class RequestFields(Fields):
    """The fields of a request.

    Args:
        raw: As received but without a length, with the line end before them and the empty line after them.

    Attributes:
        content_type: The first `Content-Type`, in lower case; empty when absent.
    """

    content_type = b""
    coding = b""
    expects_continue = False
    expects_other = False
    _has_coding = False
    _has_host = False

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._forwarded: dict[tuple[bytes | None, bool], tuple[bytes, bytes]] = {}
        for name, value in _REQUEST_FIELDS.findall(raw.lower()):
            self._read_field(name, value.rstrip(b"\t "))
        self._check_framing()

    def forward(self, host: bytes | None, length: bytes, *, expect: bool) -> bytes:
        """Return the fields to send on, in the form of `raw` and with a length; see `RequestHead.forward`."""
        key = host, expect
        parts = self._forwarded.get(key)
        if parts is None:  # there are as many as there are hosts in the settings
            parts = self._forwarded[key] = self._forward(host, expect=expect)
        return parts[0] + length + parts[1]

    def _forward(self, host: bytes | None, *, expect: bool) -> tuple[bytes, bytes]:
        """Return what stands before the length, and behind it."""
        raw = self.without_hop_lines(self._raw)
        if not expect:
            raw = grammar.without_lines(raw, _EXPECT_LINES)
        if host is not None and self._has_host:
            raw = _HOST_LINE.sub(lambda match: match[1] + b" " + host, raw, count=1)
        elif host is not None:
            raw = b"\r\nHost: %b%b" % (host, raw)
        at = raw.lower().find(_LENGTH) + len(_LENGTH) if self._has_length else 0
        return raw[:at], raw[at:]

    def _read_field(self, name: bytes, value: bytes) -> None:
        if name == b"host":
            if self._has_host:
                raise HeadError("Host is given twice")
            self._has_host = True
        elif name == b"content-type":
            self.content_type = self.content_type or value
        elif name == b"content-length":
            self._read_length()
        elif name == b"transfer-encoding":
            self._read_transfer_encoding(value)
        elif name == b"content-encoding":
            if not self._has_coding:
                self._has_coding = True
                self.coding = value
        elif name == b"expect":
            self._read_expect(value)
        else:
            self._read_hop_field(name, value)

    def _read_expect(self, value: bytes) -> None:
        if value == b"100-continue":
            self.expects_continue = True
        else:
            self.expects_other = True


class Head:
    """The common part of request and response heads.

    Attributes:
        raw: The head as received, final empty line included.
        http10: The sender speaks HTTP/1.0.
        length: Body bytes, or None without `Content-Length`.
        chunked: The body is in chunks.
        keep_alive: The sender allows a further message on its connection.
    """

    __slots__ = ("chunked", "http10", "keep_alive", "length", "raw")
    raw: bytes

    def field(self, name: bytes) -> bytes | None:
        """Return the value of the first field of this lower-case name, or None. Not for the hot path."""
        return grammar.field_of(self.raw, name)


class RequestHead(Head):
    """A request line and its fields. Without `length` and `chunked` there is no body.

    Attributes:
        target: The request target as received.
        expects_continue: The client waits for `100 Continue` before it sends the body.
        expects_other: The client has an expectation that only upstream can answer.
        coding: The first `Content-Encoding`, in lower case, which alone counts in Elasticsearch; empty when
            absent.
        content_type: The first `Content-Type`, in lower case; empty when absent.
    """

    __slots__ = (
        "_fields",
        "_length",
        "_line_end",
        "coding",
        "content_type",
        "expects_continue",
        "expects_other",
        "method",
        "target",
    )

    def __init__(self, raw: bytes, line: re.Match[bytes], fields: RequestFields, length: bytes) -> None:
        self.raw = raw
        self._length = length
        self._line_end = line.end() - 2
        self._fields = fields
        self.method, self.target, minor = line.groups()
        self.http10 = minor == b"0"
        self.length = int(length) if length else None
        self.chunked = fields.chunked
        self.coding = fields.coding
        self.content_type = fields.content_type
        self.expects_other = fields.expects_other
        # A server must ignore it in HTTP/1.0 (RFC 9110 §10.1.1); upstream's reaction is relayed.
        self.expects_continue = fields.expects_continue and not self.http10
        self.keep_alive = fields.keep_alive and not self.http10

    def forward(self, host: bytes | None = None, *, expect: bool = True) -> bytes:
        """Return the head to send on: the same bytes without hop-by-hop lines.

        Args:
            host: Replaces the value of `Host` (or adds the field); None keeps the client's.
            expect: Keep `Expect: 100-continue`.
        """
        fields = self._fields.forward(host, self._length, expect=expect or not self.expects_continue)
        return self.raw[: self._line_end] + fields


class ResponseFields(Fields):
    """A status line and its fields.

    Args:
        raw: As received, but without a length.

    Attributes:
        http10: Upstream speaks HTTP/1.0.
        only_says_close: The one field of the connection says that it is closed.
    """

    def __init__(self, raw: bytes, line: re.Match[bytes]) -> None:
        minor, status = line.groups()
        self.status = int(status)
        self.http10 = minor == b"0"
        if self.http10:
            self.keep_alive = False
        for name, value in _RESPONSE_FIELDS.findall(raw.lower()):
            self._read_field(name, value.rstrip(b"\t "))
        self._check_framing()
        self.only_says_close = self._hop_lines == 1 and self._options == _CLOSE

    def _read_field(self, name: bytes, value: bytes) -> None:
        if name == b"content-length":
            self._read_length()
        elif name == b"transfer-encoding":
            self._read_transfer_encoding(value)
        else:
            self._read_hop_field(name, value)


class ResponseHead(Head):
    """A status line and its fields."""

    __slots__ = ("_fields", "status")

    def __init__(self, raw: bytes, fields: ResponseFields, length: bytes) -> None:
        self.raw = raw
        self._fields = fields
        self.length = int(length) if length else None
        self.status = fields.status
        self.http10 = fields.http10
        self.chunked = fields.chunked
        self.keep_alive = fields.keep_alive

    def forward(self, *, close: bool, announce: bool = True, dechunk: bool = False) -> bytes:
        """Return the head to send on: the same bytes without hop-by-hop lines.

        Args:
            close: The connection to the client ends after this answer.
            announce: Say so in the head, even if upstream's did not.
            dechunk: The body is sent on without its chunk framing, and ends with the connection.
        """
        says_close = close and self._fields.only_says_close
        raw = self.raw if says_close else self._fields.without_hop_lines(self.raw)
        if dechunk:
            raw = grammar.without_lines(raw, _TRANSFER_ENCODING_LINES)
        if close and announce and not says_close:
            raw = raw[:-2] + b"connection: close\r\n\r\n"
        return raw


def status_line(status: int) -> bytes:
    """Return the first line of a response, with Elasticsearch's reason phrase, and without its line end."""
    phrase = _PHRASES.get(status) or HTTPStatus(status).phrase
    return b"HTTP/1.1 %d %b" % (status, phrase.encode())


def parse_request(raw: bytes) -> RequestHead:
    """Read a request head, final empty line included.

    Raises:
        HeadError: It breaks RFC 9112, or its framing is ambiguous (§6.1, §6.3).
    """
    line = grammar.REQUEST_LINE.match(raw)
    if line is None:
        raise HeadError(grammar.what_is_wrong(raw, grammar.REQUEST_LINE))
    rest, length = _set_length_aside(raw[line.end() - 2 :])
    read = _remembered_request if len(rest) <= MAX_REMEMBERED_BYTES else _read_request
    fields = read(rest)
    if fields is None:
        raise HeadError(grammar.what_is_wrong(raw, grammar.REQUEST_LINE))
    head = RequestHead(raw, line, fields, length)
    if head.chunked and head.http10:
        raise HeadError("Transfer-Encoding is not allowed in HTTP/1.0")
    return head


def parse_response(raw: bytes) -> ResponseHead:
    """Read a response head, final empty line included.

    Raises:
        HeadError: It breaks RFC 9112, or its framing is ambiguous (§6.1, §6.3).
    """
    rest, length = _set_length_aside(raw)
    read = _remembered_response if len(rest) <= MAX_REMEMBERED_BYTES else _read_response
    fields = read(rest)
    if fields is None:
        raise HeadError(grammar.what_is_wrong(raw, grammar.STATUS_LINE))
    return ResponseHead(raw, fields, length)


def _set_length_aside(head: bytes) -> tuple[bytes, bytes]:
    """Return a head without the value of its last `Content-Length`, and the value, empty if there is none.

    Raises:
        HeadError: The value is not a length.
    """
    at = head.lower().rfind(_LENGTH)  # takes half the time of `find`
    if at < 0:
        return head, b""
    at += len(_LENGTH)
    end = head.index(b"\r\n", at)
    value = head[at:end]
    digits = value.strip(b"\t ")
    if not digits.isdigit() or len(digits) > _MAX_LENGTH_DIGITS:
        raise HeadError("Content-Length is not a number of bytes")
    return head[:at] + head[end:], value


def _read_request(raw: bytes) -> RequestFields | None:
    return RequestFields(raw) if grammar.FIELDS.fullmatch(raw, 2) is not None else None


def _read_response(raw: bytes) -> ResponseFields | None:
    line = grammar.RESPONSE.fullmatch(raw)
    return ResponseFields(raw, line) if line is not None else None


_remembered_request = lru_cache(REMEMBERED)(_read_request)
_remembered_response = lru_cache(REMEMBERED)(_read_response)
