"""Request and response heads: a strict reading of RFC 9112 that keeps the bytes.

A head is never rebuilt. It is checked against the grammar as a whole, and the few fields that decide on
framing and the connection are read. What is forwarded is the same bytes without the lines that belong to one
connection (RFC 9110 §7.6.1). Being strict is on purpose: where two parsers disagree about the end of a
message, requests can be smuggled, so anything outside the grammar is refused.
"""

import re
from collections.abc import Set
from http import HTTPStatus

from rerank_proxy.http import grammar
from rerank_proxy.http.hop_by_hop import OF_THE_CONNECTION

_HOP_NAMES = tuple(name.encode() for name in OF_THE_CONNECTION)
_REQUEST_FIELDS = grammar.lines_of(
    b"host", b"content-length", b"content-encoding", b"transfer-encoding", b"expect", *_HOP_NAMES
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


class Head:
    """The common part of request and response heads.

    Attributes:
        raw: The head as received, final empty line included.
        http10: The sender speaks HTTP/1.0.
        length: Body bytes, or None without `Content-Length`.
        chunked: The body is in chunks.
        keep_alive: The sender allows a further message on its connection.
    """

    # Defaults of the class, so that a head sets only what differs from them.
    http10 = False
    length: int | None = None
    chunked = False
    keep_alive = True
    _hop_lines = 0
    _last_hop_name = b""
    _options: Set[bytes] = frozenset()

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def field(self, name: bytes) -> bytes | None:
        """Return the value of the first field of this lower-case name, or None. Not for the hot path."""
        return grammar.field_of(self.raw, name)

    def _read_length(self, value: bytes) -> None:
        if self.length is not None:
            raise HeadError("Content-Length is given twice")
        if not value.isdigit() or len(value) > _MAX_LENGTH_DIGITS:
            raise HeadError("Content-Length is not a number of bytes")
        self.length = int(value)

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

    def _without_hop_lines(self) -> bytes:
        if self._hop_lines == 1:  # `Connection: keep-alive`, as a rule
            raw = grammar.without_line(self.raw, self._last_hop_name)
        else:
            raw = grammar.without_lines(self.raw, _HOP_LINES, self._hop_lines)
        listed = self._options - _COVERED_OPTIONS
        return grammar.without_fields(raw, listed) if listed else raw


class RequestHead(Head):
    """A request line and its fields. Without `length` and `chunked` there is no body.

    Attributes:
        target: The request target as received.
        expects_continue: The client waits for `100 Continue` before it sends the body.
        expects_other: The client has an expectation that only upstream can answer.
        coding: The first `Content-Encoding`, in lower case, which alone counts in Elasticsearch; empty when
            absent.
    """

    expects_continue = False
    expects_other = False
    coding = b""
    _has_coding = False
    _has_host = False

    def __init__(self, raw: bytes, method: bytes, target: bytes) -> None:
        self.raw = raw
        self.method = method
        self.target = target

    def forward(self, host: bytes | None = None, *, expect: bool = True) -> bytes:
        """Return the head to send on: the same bytes without hop-by-hop lines.

        Args:
            host: Replaces the value of `Host` (or adds the field); None keeps the client's.
            expect: Keep `Expect: 100-continue`.
        """
        raw = self._without_hop_lines() if self._hop_lines else self.raw
        if self.expects_continue and not expect:
            raw = grammar.without_lines(raw, _EXPECT_LINES)
        if host is None:
            return raw
        if self._has_host:
            return _HOST_LINE.sub(lambda match: match[1] + b" " + host, raw, count=1)
        request_line, _, fields = raw.partition(b"\r\n")
        return b"%b\r\nHost: %b\r\n%b" % (request_line, host, fields)

    def _read_field(self, name: bytes, value: bytes) -> None:
        if name == b"host":
            if self._has_host:
                raise HeadError("Host is given twice")
            self._has_host = True
        elif name == b"content-length":
            self._read_length(value)
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
        # A server must ignore it in HTTP/1.0 (RFC 9110 §10.1.1); upstream's reaction is relayed.
        if value == b"100-continue":
            self.expects_continue = not self.http10
        else:
            self.expects_other = True


class ResponseHead(Head):
    """A status line and its fields."""

    def __init__(self, raw: bytes, status: int) -> None:
        self.raw = raw
        self.status = status

    @property
    def allows_another(self) -> bool:
        """Return whether its connection may be used for another request, as far as the head tells.

        Elasticsearch answers 400 to a head that its parser refuses, one of more than 16 KiB for example. It
        then keeps the connection open, but reads nothing more.
        """
        return self.keep_alive and self.status != 400

    def forward(self, *, close: bool, announce: bool = True, dechunk: bool = False) -> bytes:
        """Return the head to send on: the same bytes without hop-by-hop lines.

        Args:
            close: The connection to the client ends after this answer.
            announce: Say so in the head, even if upstream's did not.
            dechunk: The body is sent on without its chunk framing, and ends with the connection.
        """
        says_close = close and self._hop_lines == 1 and self._options == _CLOSE
        raw = self._without_hop_lines() if self._hop_lines and not says_close else self.raw
        if dechunk:
            raw = grammar.without_lines(raw, _TRANSFER_ENCODING_LINES)
        if close and announce and not says_close:
            raw = raw[:-2] + b"connection: close\r\n\r\n"
        return raw

    def _read_field(self, name: bytes, value: bytes) -> None:
        if name == b"content-length":
            self._read_length(value)
        elif name == b"transfer-encoding":
            self._read_transfer_encoding(value)
        else:
            self._read_hop_field(name, value)


def status_line(status: int) -> bytes:
    """Return the first line of a response, with Elasticsearch's reason phrase, and without its line end."""
    phrase = _PHRASES.get(status) or HTTPStatus(status).phrase
    return b"HTTP/1.1 %d %b" % (status, phrase.encode())


def parse_request(raw: bytes) -> RequestHead:
    """Read a request head, final empty line included.

    Raises:
        HeadError: It breaks RFC 9112, or its framing is ambiguous (§6.1, §6.3).
    """
    match = grammar.REQUEST.fullmatch(raw)
    if match is None:
        raise HeadError(grammar.what_is_wrong(raw, grammar.REQUEST_LINE))
    method, target, minor = match.groups()
    head = RequestHead(raw, method, target)
    if minor == b"0":
        head.http10 = True
        head.keep_alive = False
    for name, value in _REQUEST_FIELDS.findall(raw.lower()):
        head._read_field(name, value.rstrip(b"\t "))
    if head.chunked and (head.length is not None or head.http10):
        raise HeadError("Transfer-Encoding is not allowed in HTTP/1.0 or beside Content-Length")
    return head


def parse_response(raw: bytes) -> ResponseHead:
    """Read a response head, final empty line included.

    Raises:
        HeadError: It breaks RFC 9112, or its framing is ambiguous (§6.1, §6.3).
    """
    match = grammar.RESPONSE.fullmatch(raw)
    if match is None:
        raise HeadError(grammar.what_is_wrong(raw, grammar.STATUS_LINE))
    minor, status = match.groups()
    head = ResponseHead(raw, int(status))
    if minor == b"0":
        head.http10 = True
        head.keep_alive = False
    for name, value in _RESPONSE_FIELDS.findall(raw.lower()):
        head._read_field(name, value.rstrip(b"\t "))
    if head.chunked and head.length is not None:
        raise HeadError("Transfer-Encoding is given beside Content-Length")
    return head
