"""The fields of heads: what they say of framing and the connection, and what is sent on of them.

They mostly repeat what was read a moment ago: a client sends the same fields with every request, and
Elasticsearch answers with the same, but for the length of the body. So what was read is remembered by the
bytes that it was read from, without the length (`REMEMBERED` of requests and of answers, of which the least
recently used is forgotten first). These bytes hold credentials: they stay in this process, and are compared
only as a whole.
"""

import re
from collections.abc import Set
from functools import lru_cache
from typing import Final

from rerank_proxy.http import grammar, handover
from rerank_proxy.http.hop_by_hop import OF_THE_CONNECTION

REMEMBERED: Final = 256
"""How many fields of requests, and heads of answers, are remembered."""
MAX_REMEMBERED_BYTES: Final = 2048
"""The most bytes of one of them: all together take a megabyte or two."""

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
_OWN_NAMES = handover.HEADER.encode(), handover.RECORD.encode()
_OWN_LINES = re.compile(rb"\r\n(?:%b[^:\r]*|%b):[^\r]*" % _OWN_NAMES)
"""Finds what the parts of the proxy say to each other, in a lower-cased head."""
_OWN_BEGINNING = b"\r\nx-rerank-"
"""That of all these lines. Most heads have none, which is known sooner by it."""
_EXPECT_LINES = grammar.lines_of(b"expect")
_CODING_WITH_TAB = re.compile(rb"\r\ntransfer-encoding:[^\r]*\t")
_HOST_LINE = re.compile(rb"(\r\n(?i:host):)[^\r]*")

# 18 digits are beyond any body, and fit the 64-bit integers of any parser upstream.
_MAX_LENGTH_DIGITS = 18
_CLOSE = {b"close"}
_COVERED_OPTIONS = frozenset({b"close", *_HOP_NAMES})
_NEVER_OPTIONS = frozenset({b"content-length", b"transfer-encoding", b"host"})
_LENGTH = b"\r\ncontent-length:"
_NOT_ORDINARY = (204, 304, 400)
"""Statuses without a body, and that of Elasticsearch before it reads no more (`ResponseHead.allows_another`).
"""


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
        http10: The sender speaks HTTP/1.0.
        chunked: The body is in chunks.
        keep_alive: The sender allows a further message on its connection; never in HTTP/1.0.
    """

    # Defaults of the class, so that an object sets only what differs from them.
    http10 = False
    _has_length = False
    _hop_lines = 0
    _last_hop_name = b""
    _options: Set[bytes] = frozenset()

    def __init__(self) -> None:
        self.chunked = False
        self.keep_alive = True

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

    def _check_framing(self, raw: bytes) -> None:
        if self.chunked and self._has_length:
            raise HeadError("Transfer-Encoding is not allowed beside Content-Length")
        # It is white space like any other, but llhttp reads [chunked] and a tab as another coding.
        if self.chunked and _CODING_WITH_TAB.search(raw.lower()):
            raise HeadError("Transfer-Encoding holds a tab, which recipients read differently")

    def _around_length(self, raw: bytes) -> tuple[bytes, bytes]:
        """Return what stands before the length, and behind it."""
        at = raw.lower().find(_LENGTH) + len(_LENGTH) if self._has_length else 0
        return raw[:at], raw[at:]

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
        raw: As received but without a length, with the end of the request line before them, from the last
            digit of its version on, and the empty line after them.

    Attributes:
        content_type: The first `Content-Type`, in lower case; empty when absent.
        coding: The first `Content-Encoding`, in lower case, which alone counts in Elasticsearch; empty when
            absent.
        expects_continue: The client waits for `100 Continue` before it sends the body.
        expects_other: The client has an expectation that only upstream can answer.
    """

    _has_coding = False
    _has_host = False

    def __init__(self, raw: bytes) -> None:
        super().__init__()
        self.expects_continue = self.expects_other = False
        self.content_type = self.coding = b""
        self._raw = raw
        self._forwarded: dict[tuple[bytes | None, bool], tuple[bytes, bytes]] = {}
        lowered = raw.lower()
        for name, value in _REQUEST_FIELDS.findall(lowered):
            self._read_field(name, value.rstrip(b"\t "))
        self._has_own_lines = _OWN_BEGINNING in lowered
        self._check_framing(raw)
        if raw.startswith(b"0"):
            self._take_for_http10()

    @property
    def raw(self) -> bytes:
        """The fields as received, without the length; the same object for all heads that share it."""
        return self._raw

    def _take_for_http10(self) -> None:
        if self.chunked:
            raise HeadError("Transfer-Encoding is not allowed in HTTP/1.0")
        self.http10 = True
        self.keep_alive = False
        # A server must ignore it in HTTP/1.0 (RFC 9110 §10.1.1); upstream's reaction is relayed.
        self.expects_continue = False

    def forward(self, host: bytes | None, *, expect: bool) -> tuple[bytes, bytes]:
        """Return the fields to send on, in the form of `raw`: what stands before the length, and behind it.

        See `RequestHead.forward`.
        """
        key = host, expect
        parts = self._forwarded.get(key)
        if parts is None:  # there are as many as there are hosts in the settings
            parts = self._forwarded[key] = self._forward(host, expect=expect)
        return parts

    def _forward(self, host: bytes | None, *, expect: bool) -> tuple[bytes, bytes]:
        raw = self.without_hop_lines(self._raw)
        if self._has_own_lines:
            raw = grammar.without_lines(raw, _OWN_LINES)
        if self.expects_continue and not expect:
            raw = grammar.without_lines(raw, _EXPECT_LINES)
        if host is not None and self._has_host:
            raw = _HOST_LINE.sub(lambda match: match[1] + b" " + host, raw, count=1)
        elif host is not None:
            raw = b"%b\r\nHost: %b%b" % (raw[:1], host, raw[1:])
        return self._around_length(raw)

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


class ResponseFields(Fields):
    """A status line and its fields.

    Args:
        raw: As received, but without a length.

    Attributes:
        http10: Upstream speaks HTTP/1.0.
        only_says_close: The one field of the connection says that it is closed.
        ordinary: A body of a known length follows unless the request is a `HEAD`, and neither connection ends
            with it.
        sent_on: What is sent on of an ordinary head, without the lines of the connection: what stands before
            the length, and behind it. None: it is sent on as it came.
    """

    sent_on: tuple[bytes, bytes] | None = None

    def __init__(self, raw: bytes, line: re.Match[bytes]) -> None:
        super().__init__()
        minor, status = line.groups()
        self.status = int(status)
        self.http10 = minor == b"0"
        if self.http10:
            self.keep_alive = False
        for name, value in _RESPONSE_FIELDS.findall(raw.lower()):
            self._read_field(name, value.rstrip(b"\t "))
        self._check_framing(raw)
        self.only_says_close = self._hop_lines == 1 and self._options == _CLOSE
        self.ordinary = (
            self.keep_alive and self._has_length and self.status >= 200 and self.status not in _NOT_ORDINARY
        )
        if self.ordinary and self._hop_lines:
            self.sent_on = self._around_length(self.without_hop_lines(raw))

    def _read_field(self, name: bytes, value: bytes) -> None:
        if name == b"content-length":
            self._read_length()
        elif name == b"transfer-encoding":
            self._read_transfer_encoding(value)
        else:
            self._read_hop_field(name, value)


def set_length_aside(head: bytes) -> tuple[bytes, bytes]:
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


def fields_of_request(raw: bytes) -> tuple[RequestFields, bytes] | None:
    """Return what the fields of a request say, and the value of its length; None if they are malformed.

    Args:
        raw: What `RequestFields` takes, but with the length.

    Raises:
        HeadError: They are ambiguous, or not supported.
    """
    known = _without_length.get(raw)
    if known is not None:
        return known, b""
    rest, length = set_length_aside(raw)
    if len(rest) > MAX_REMEMBERED_BYTES:
        fields = _read_request(rest)
    else:
        fields = _remembered_request(rest)
        if fields is not None and not length:
            _remember_without_length(rest, fields)
    return None if fields is None else (fields, length)


def fields_of_response(head: bytes) -> tuple[ResponseFields, bytes] | None:
    """Return what the head of an answer says, and the value of its length; None if it is malformed.

    Raises:
        HeadError: It is ambiguous, or not supported.
    """
    rest, length = set_length_aside(head)
    fields = _remembered_response(rest) if len(rest) <= MAX_REMEMBERED_BYTES else _read_response(rest)
    return None if fields is None else (fields, length)


def _remember_without_length(raw: bytes, fields: RequestFields) -> None:
    if len(_without_length) >= REMEMBERED:
        del _without_length[next(iter(_without_length))]
    _without_length[raw] = fields


def _read_request(raw: bytes) -> RequestFields | None:
    return RequestFields(raw) if grammar.FIELDS.fullmatch(raw, 3) is not None else None


def _read_response(raw: bytes) -> ResponseFields | None:
    line = grammar.RESPONSE.fullmatch(raw)
    return ResponseFields(raw, line) if line is not None else None


_without_length: Final[dict[bytes, RequestFields]] = {}
"""Some of those remembered. Most requests have no body: theirs are found without a search for the length."""
_remembered_request = lru_cache(REMEMBERED)(_read_request)
_remembered_response = lru_cache(REMEMBERED)(_read_response)
