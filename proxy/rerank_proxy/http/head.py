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
    HeadError,
    RequestFields,
    ResponseFields,
    fields_of_request,
    fields_of_response,
    set_length_aside,
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

_PHRASES = {413: "Request Entity Too Large"}
"""Reason phrases of Elasticsearch that differ from those of some version of Python."""


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

    @property
    def sets_condition(self) -> bool:
        """Return whether it has a body that upstream reads only if it meets an expectation."""
        expects = self.expects_continue or self.expects_other
        return expects and (self.chunked or bool(self.length))

    def forward(self, host: bytes | None = None, *, expect: bool = True) -> bytes:
        """Return the head to send on: the same bytes without hop-by-hop lines.

        Args:
            host: Replaces the value of `Host` (or adds the field); None keeps the client's.
            expect: Keep `Expect: 100-continue`.
        """
        fields = self._fields.forward(host, self._length, expect=expect or not self.expects_continue)
        return self.raw[: self._line_end] + fields


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
    rest, length = set_length_aside(raw[line.end() - 2 :])
    fields = fields_of_request(rest)
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
    rest, length = set_length_aside(raw)
    fields = fields_of_response(rest)
    if fields is None:
        raise HeadError(grammar.what_is_wrong(raw, grammar.STATUS_LINE))
    return ResponseHead(raw, fields, length)
