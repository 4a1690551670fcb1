"""Request and response heads: a strict reading of RFC 9112 that keeps the bytes.

A head is never rebuilt. It is checked against the grammar as a whole, and the few fields that decide on
framing and the connection are read. What is forwarded is the same bytes without the lines that belong to one
connection (RFC 9110 §7.6.1). Being strict is on purpose: where two parsers disagree about the end of a
message, requests can be smuggled, so anything outside the grammar is refused.
"""

import re
from http import HTTPStatus

from rerank_proxy.http import grammar
from rerank_proxy.http.fields import (
    Fields,
    HeadError,
    RequestFields,
    ResponseFields,
    fields_of_request,
    fields_of_response,
)

__all__ = (
    "Head",
    "HeadError",
    "RequestHead",
    "ResponseHead",
    "parse_request",
    "parse_response",
    "status_line",
)

_TRANSFER_ENCODING_LINES = grammar.lines_of(b"transfer-encoding")

_END_OF_LINE = len(b"1\r\n")
"""What of a request line stands before its fields in `RequestFields`: the last digit of the version."""

_PHRASES = {413: "Request Entity Too Large"}
"""Reason phrases of Elasticsearch that differ from those of some version of Python."""


class Head:
    """The common part of request and response heads.

    Attributes:
        raw: The head as received, final empty line included.
        fields: What its fields say, but for the length. Other heads may share it.
        length: Body bytes, or None without `Content-Length`.
    """

    __slots__ = ("fields", "length", "raw")
    raw: bytes
    fields: Fields
    length: int | None

    # For what is said of the fields, the hot path asks these themselves, which costs no call.

    @property
    def http10(self) -> bool:
        return self.fields.http10

    @property
    def chunked(self) -> bool:
        return self.fields.chunked

    @property
    def keep_alive(self) -> bool:
        return self.fields.keep_alive

    def field(self, name: bytes) -> bytes | None:
        """Return the value of the first field of this lower-case name, or None. Not for the hot path."""
        return grammar.field_of(self.raw, name)


class RequestHead(Head):
    """A request line and its fields. Without `length` and `chunked` there is no body.

    Attributes:
        target: The request target as received.
    """

    __slots__ = ("_length", "_line_end", "method", "target")
    fields: RequestFields

    def __init__(self, raw: bytes, line: re.Match[bytes], fields: RequestFields, length: bytes) -> None:
        self.raw = raw
        self.fields = fields
        self.method, self.target = line.groups()
        self.length = int(length) if length else None
        self._length = length
        self._line_end = line.end() - _END_OF_LINE

    @property
    def sets_condition(self) -> bool:
        """Return whether it has a body that upstream reads only if it meets an expectation."""
        fields = self.fields
        return (fields.expects_continue or fields.expects_other) and (fields.chunked or bool(self.length))

    def forward(self, host: bytes | None = None, *, expect: bool = True) -> bytes:
        """Return the head to send on: the same bytes without hop-by-hop lines, and without the proxy's own.

        Args:
            host: Replaces the value of `Host` (or adds the field); None keeps the client's.
            expect: Keep `Expect: 100-continue`.
        """
        before, behind = self.fields.forward(host, expect=expect)
        return self.raw[: self._line_end] + before + self._length + behind


class ResponseHead(Head):
    """A status line and its fields."""

    __slots__ = ("status",)
    fields: ResponseFields

    def __init__(self, raw: bytes, fields: ResponseFields, length: bytes) -> None:
        self.raw = raw
        self.fields = fields
        self.length = int(length) if length else None
        self.status = fields.status

    @property
    def allows_another(self) -> bool:
        """Return whether its connection may be used for another request, as far as the head tells.

        Elasticsearch answers 400 to a head that its parser refuses, one of more than 16 KiB for example. It
        then keeps the connection open, but reads nothing more.
        """
        return self.fields.keep_alive and self.status != 400

    def forward(self, *, close: bool, announce: bool = True, dechunk: bool = False) -> bytes:
        """Return the head to send on: the same bytes without hop-by-hop lines.

        Args:
            close: The connection to the client ends after this answer.
            announce: Say so in the head, even if upstream's did not.
            dechunk: The body is sent on without its chunk framing, and ends with the connection.
        """
        says_close = close and self.fields.only_says_close
        raw = self.raw if says_close else self.fields.without_hop_lines(self.raw)
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
    read = fields_of_request(raw[line.end() - _END_OF_LINE :])
    if read is None:
        raise HeadError(grammar.what_is_wrong(raw, grammar.REQUEST_LINE))
    return RequestHead(raw, line, *read)


def parse_response(raw: bytes) -> ResponseHead:
    """Read a response head, final empty line included.

    Raises:
        HeadError: It breaks RFC 9112, or its framing is ambiguous (§6.1, §6.3).
    """
    read = fields_of_response(raw)
    if read is None:
        raise HeadError(grammar.what_is_wrong(raw, grammar.STATUS_LINE))
    return ResponseHead(raw, *read)
