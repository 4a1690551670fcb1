"""Upstream closes the connection on a body that it cannot decode: then the client is told what was wrong."""

import gzip
import zlib

import pytest

from rerank_proxy.edge.undecodable import MAX_CODED
from tests.edge.conftest import StartRelay
from tests.support.raw_http import OK, Wire, answering

BODY = b'{"query":{"match_all":{}}}' * 3
PACKED = gzip.compress(BODY)
CORRUPT = {
    "another format": (b"gzip", BODY),
    "bad method": (b"gzip", PACKED[:2] + b"\7" + PACKED[3:]),
    "bad checksum": (b"gzip", PACKED[:-8] + bytes(4) + PACKED[-4:]),
    "bad length": (b"x-gzip", PACKED[:-4] + bytes(4)),
    "garbage behind it": (b"gzip", PACKED + b"something else"),
    "a second member that is none": (b"gzip", PACKED + bytes(32)),
    "bad deflate": (b"deflate", b"\x78\x9c\xff\xff\xff"),
    "bad snappy": (b"snappy", b"something else"),
}
NOT_TO_BLAME = {
    "valid": (b"gzip", PACKED),
    "members": (b"gzip", PACKED + PACKED),
    "second magic byte": (b"gzip", b"\x1f\x00" + PACKED[2:]),
    "few bytes behind it": (b"gzip", PACKED + b"garbage"),
    "truncated": (b"gzip", PACKED[:-12]),
    "deflate": (b"deflate", zlib.compress(BODY)),
    "too long to be decoded again": (b"gzip", b"x" * (MAX_CODED + 1)),
    "too much decoded": (b"gzip", gzip.compress(bytes(2**22)) + b"something else"),
}


def request(path: bytes, coding: bytes, body: bytes, *, chunked: bool = False) -> bytes:
    head = b"POST %b HTTP/1.1\r\nHost: h\r\nContent-Encoding: %b\r\n" % (path, coding)
    if chunked:
        return head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def closes(wire: Wire) -> None:
    await wire.read_message()


@pytest.mark.parametrize("path", [b"/i/_doc", b"/i/_search"])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("name", CORRUPT)
async def test_a_corrupt_body_is_the_requests_fault(
    start_relay: StartRelay, path: bytes, name: str, chunked: bool
) -> None:
    coding, body = CORRUPT[name]
    client = await (await start_relay(closes)).connect()
    await client.send(request(path, coding, body, chunked=chunked))
    answer = await client.read_message()
    assert answer.status == 400
    assert b'"zip_exception"' in answer.body
    assert b"the [%b] body cannot be decoded" % coding in answer.body


@pytest.mark.parametrize("path", [b"/i/_doc", b"/i/_search"])
@pytest.mark.parametrize("name", NOT_TO_BLAME)
async def test_any_other_body_may_be(start_relay: StartRelay, path: bytes, name: str) -> None:
    coding, body = NOT_TO_BLAME[name]
    client = await (await start_relay(closes)).connect()
    await client.send(request(path, coding, body))
    answer = await client.read_message()
    assert answer.status == 502
    assert b"before it answered, as it does when it cannot decode the body of a request;" in answer.body


@pytest.mark.parametrize("path", [b"/i/_doc", b"/i/_search"])
@pytest.mark.parametrize("name", CORRUPT)
async def test_what_upstream_answers_is_the_answer(start_relay: StartRelay, path: bytes, name: str) -> None:
    """Its versions differ."""
    serve, requests = answering(OK)
    client = await (await start_relay(serve)).connect()
    sent = request(path, *CORRUPT[name])
    await client.send(sent)
    assert (await client.read_message()).raw == OK
    assert [each.raw for each in requests] == [sent]
