"""Heads and bodies of HTTP/1.1, with llhttp (as httptools wraps it) for an oracle.

What both accept they must read alike: else a request could be smuggled past one of them. Where only one
accepts, `differences` says why that is meant.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import httptools

from rerank_proxy.http import inflate
from rerank_proxy.http.framing import ChunkedBody, FramingError, request_body, response_body
from rerank_proxy.http.grammar import END_OF_HEAD, field_of
from rerank_proxy.http.head import Head, HeadError, RequestHead, ResponseHead, parse_request, parse_response
from tests.fuzz.differences import ONLY_HERE, ONLY_THERE, explained
from tests.fuzz.pieces import choose, in_pieces

_Parser = httptools.HttpRequestParser | httptools.HttpResponseParser
_CHUNKED_REQUEST: Final = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
_MOST_DECODED: Final = 64
"""Pieces of a decoded body that are looked at: a small one may decode to gigabytes."""


@dataclass
class Read:
    """What llhttp reads."""

    target: bytes = b""
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    has_head: bool = False
    is_complete: bool = False

    def on_url(self, part: bytes) -> None:
        self.target += part

    def on_header(self, name: bytes, value: bytes | None) -> None:
        self.fields.append((name, (value or b"").strip(b"\t ")))

    def on_headers_complete(self) -> None:
        self.has_head = True

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_message_complete(self) -> None:
        self.is_complete = True


def _head_in(data: bytes) -> bytes:
    """Return the data up to the end of its first head, which is added where there is none."""
    data += END_OF_HEAD
    return data[: data.index(END_OF_HEAD) + len(END_OF_HEAD)]


def check_request_head(data: bytes) -> None:
    head = _head_in(data)
    read = Read()
    parser = httptools.HttpRequestParser(read)
    their_fault = _feed(parser, head)
    try:
        ours = parse_request(head)
    except HeadError as fault:
        assert 400 <= fault.status <= 501
        assert not read.has_head or explained(ONLY_THERE, head), f"refused here alone: {fault.reason}"
        return
    assert ours.forward(), "nothing is sent on"
    _check_sent_on(ours)
    if not read.has_head:
        assert explained(ONLY_HERE, head), f"accepted here alone: {their_fault}"
        return
    assert ours.method == parser.get_method()
    assert ours.target == read.target
    assert ours.http10 == (parser.get_http_version() == "1.0")
    _check_fields(ours, read)
    if not isinstance(their_fault, httptools.HttpParserUpgrade) and ours.method != b"CONNECT":
        assert read.is_complete == (request_body(ours) is None), "the body"
        _check_length(ours, parser, read)


def _check_sent_on(ours: RequestHead) -> None:
    """What is sent on is a head again, which says the same, and needs no change when it is sent on again."""
    again = parse_request(ours.forward())
    assert (again.method, again.target, again.length) == (ours.method, ours.target, ours.length)
    assert again.chunked == ours.chunked
    assert again.forward() == again.raw
    renamed = parse_request(ours.forward(b"es.example:9200", expect=False))
    assert renamed.field(b"host") == b"es.example:9200"
    assert (renamed.length, renamed.chunked) == (ours.length, ours.chunked)


def _check_fields(ours: Head, read: Read) -> None:
    first: dict[bytes, bytes] = {}
    for name, value in read.fields:
        first.setdefault(name.lower(), value)
    for name, value in first.items():
        assert ours.field(name) == value, name


def _check_length(ours: Head, parser: _Parser, read: Read) -> None:
    if ours.chunked:
        assert _feed(parser, b"2\r\nok\r\n0\r\n\r\n") is None
        assert (read.body, read.is_complete) == (b"ok", True)
    elif ours.length and ours.length < 100_000:
        assert _feed(parser, b"x" * (ours.length - 1)) is None
        assert not read.is_complete
        assert _feed(parser, b"x") is None
        assert read.is_complete


def check_answer_head(data: bytes) -> None:
    head = _head_in(data)
    read = Read()
    parser = httptools.HttpResponseParser(read)
    their_fault = _feed(parser, head)
    try:
        ours = parse_response(head)
    except HeadError as fault:
        assert not read.has_head or explained(ONLY_THERE, head), f"refused here alone: {fault.reason}"
        return
    _check_answer_sent_on(ours)
    if not read.has_head:
        assert explained(ONLY_HERE, head), f"accepted here alone: {their_fault}"
        return
    assert ours.status == parser.get_status_code()
    _check_fields(ours, read)
    if ours.status >= 200 and not isinstance(their_fault, httptools.HttpParserUpgrade):
        body = response_body(ours)
        assert read.is_complete == body.done, "the body"
        if not body.until_close and not body.done:
            _check_length(ours, parser, read)


def _check_answer_sent_on(ours: ResponseHead) -> None:
    for close in (False, True):
        again = parse_response(ours.forward(close=close))
        assert (again.status, again.length, again.chunked) == (ours.status, ours.length, ours.chunked)
        assert not close or not again.keep_alive
    plain = parse_response(ours.forward(close=True, dechunk=True))
    assert not plain.chunked


def _feed(parser: _Parser, data: bytes) -> Exception | None:
    try:
        parser.feed_data(data)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade) as fault:
        return fault
    return None


def check_chunked(data: bytes) -> None:
    pieces, whole = in_pieces(data)
    at_once, bit_by_bit = _dechunked([whole]), _dechunked(pieces)
    assert at_once == bit_by_bit, "the pieces matter"
    if at_once is None:
        return
    content, is_done, rest = at_once
    read = Read()
    parser = httptools.HttpRequestParser(read)
    assert _feed(parser, _CHUNKED_REQUEST) is None
    used = whole[: len(whole) - len(rest)]
    fault = _feed(parser, used)
    if fault is not None and not is_done:  # what is read next will be refused here as well
        return
    if fault is not None:
        assert explained(ONLY_HERE, _CHUNKED_REQUEST + used), f"accepted here alone: {fault}"
        return
    assert (content, is_done) == (read.body, read.is_complete)


def _dechunked(pieces: Iterable[bytes]) -> tuple[bytes, bool, bytes] | None:
    """Return the content, whether it is complete, and what follows; None for broken framing."""
    body, content, rest = ChunkedBody(), list[bytes](), b""
    try:
        for piece in pieces:
            end = body.feed(piece, 0, content)
            assert end == len(piece) or body.done
            rest += piece[end:]
    except FramingError:
        return None
    return b"".join(content), body.done, rest


def check_codings(data: bytes) -> None:
    """Compressed bodies: pieces do not matter, and what the standard library decodes is decoded alike."""
    coding, rest = choose(data, (b"gzip", b"deflate", b"snappy"))
    pieces, whole = in_pieces(rest)
    at_once, bit_by_bit = _decoded([whole], coding), _decoded(pieces, coding)
    shared = min(len(at_once), len(bit_by_bit))
    assert at_once[:shared] == bit_by_bit[:shared], "the pieces matter"
    if coding == b"gzip":
        _check_gzip(whole, at_once)


def _decoded(pieces: Iterable[bytes], coding: bytes) -> bytes:
    decoded = bytearray()
    with suppress(inflate.CodingError):
        for part in islice(_parts(pieces, coding), _MOST_DECODED):
            decoded += part
    return bytes(decoded)


def _parts(pieces: Iterable[bytes], coding: bytes) -> Iterator[bytes]:
    for part in inflate.decompress(pieces, coding):
        assert len(part) <= inflate.STEP
        yield part


def _check_gzip(whole: bytes, ours: bytes) -> None:
    import gzip
    import zlib

    if len(whole) > 1024:  # what it decodes to is bounded by this
        return
    with suppress(OSError, EOFError, zlib.error):
        assert gzip.decompress(whole)[: len(ours)] == ours, "gzip decodes to something else"


_NAME: Final = re.compile(rb"[a-z-]{1,20}")


def check_field_lookup(data: bytes) -> None:
    """A field that is found is in a line of its own."""
    head = _head_in(data)
    name = _NAME.match(data)
    if name is None:
        return
    value = field_of(head, name[0])
    assert value is None or b"\r" not in value
