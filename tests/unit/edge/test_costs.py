"""What hostile bytes cost the edge: processor time in proportion to them, and with a small factor.

Costs are compared with each other and with that of a trivial call in the same process, never with a clock.
"""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from time import process_time
from typing import Final, TypeVar

import pytest
from pydantic import ByteSize

from rerank_proxy.settings import EdgeSettings
from tests.unit.edge.test_relay import GET, OK, Relay

SIZE: Final = 16 * 1024
GROWTH: Final = 4
MOST_GROWTH: Final = 9
"""What `GROWTH` times the bytes may cost; quadratic work would cost 16 times as much."""
CALLS_FOR_A_BYTE: Final = 10
CALLS_FOR_A_READ: Final = 120
CALLS_FOR_A_REQUEST: Final = 1500
"""The most that a byte, a read, and relaying a request may cost: as much as so many trivial calls."""

NUMBERS: Final = count(1_000_000)
T = TypeVar("T")

REQUEST: Final = b"GET / HTTP/1.1\r\n"
SEARCH: Final = b"POST /_search HTTP/1.1\r\n"
ANSWER: Final = b"HTTP/1.1 200 OK\r\n"
CHUNKED: Final = b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class Hostile:
    """Bytes that come in reads of `step`.

    Attributes:
        begin: What they begin with.
        repeated: What they repeat; `%x`, if there, becomes another number each time.
        end: What they end with.
    """

    begin: bytes
    repeated: bytes
    end: bytes = b"\r\n"
    step: int = 1 << 30

    def pieces(self, size: int) -> list[bytes]:
        """Some `size` bytes in reads; never the same twice where they hold numbers."""
        numbered = b"%x" in self.repeated
        times = size // len(self.repeated % 1_000_000 if numbered else self.repeated)
        if numbered:
            repeated = b"".join(self.repeated % next(NUMBERS) for _ in range(times))
        else:
            repeated = self.repeated * times
        data = self.begin + repeated + self.end
        return [data[at : at + self.step] for at in range(0, len(data), self.step)]


OF_CLIENTS: Final = {
    "options of Connection": Hostile(REQUEST + b"Connection: a", b",x%x", b"\r\n\r\n"),
    "options of Connection that are there": Hostile(
        REQUEST + b"x: 1\r\n" * 999 + b"Connection: x", b",x%x", b"\r\n\r\n"
    ),
    "lines of Connection": Hostile(REQUEST, b"connection: x%x\r\n"),
    "keep-alive after many options": Hostile(
        REQUEST + b"connection: " + b",".join(b"%x" % n for n in range(3000)) + b"\r\n",
        b"connection: keep-alive, a\r\n",
    ),
    "empty options": Hostile(REQUEST + b"Connection: ", b",", b"\r\n\r\n"),
    "hop-by-hop lines": Hostile(REQUEST, b"te:\r\n"),
    "short lines": Hostile(REQUEST, b"a:\r\n"),
    "lines of codings": Hostile(SEARCH, b"content-encoding: x\r\n"),
    "lines of expectations": Hostile(REQUEST, b"expect: 100-continue\r\n"),
    "folded lines": Hostile(REQUEST, b"a: b\r\n c\r\n"),
    "a wrong line after many": Hostile(REQUEST, b"a:\r\n", b"b\r\n\r\n"),
    "white space before a colon": Hostile(REQUEST + b"a", b" ", b": b\r\n\r\n"),
    "white space in a value": Hostile(REQUEST + b"connection:", b" \t", b"x\r\n\r\n"),
    "a long name": Hostile(REQUEST, b"a", b": b\r\n\r\n"),
    "a long value": Hostile(REQUEST + b"x-opaque-id: ", b"a", b"\r\n\r\n"),
    "a long method": Hostile(b"", b"A", b" / HTTP/1.1\r\n\r\n"),
    "a long target": Hostile(b"GET /", b"a", b" HTTP/1.1\r\n\r\n"),
    "a target of slashes": Hostile(b"POST ", b"/", b"_search HTTP/1.1\r\n\r\n"),
    "a target of search words": Hostile(b"POST /", b"_search/", b" HTTP/1.1\r\n\r\n"),
    "many parameters": Hostile(b"GET /_search?a", b"&a=b", b" HTTP/1.1\r\n\r\n"),
    "percent signs": Hostile(b"GET /_search?source=", b"%74", b" HTTP/1.1\r\n\r\n"),
    "escapes in a query": Hostile(b"GET /_search?source=", b"\\u0074", b" HTTP/1.1\r\n\r\n"),
    "empty lines first": Hostile(b"", b"\r\n", GET),
    "empty lines in bytes": Hostile(b"", b"\r\n", GET, step=1),
    "a head in bytes": Hostile(REQUEST, b"a: b\r\n", step=1),
    "a head in small pieces": Hostile(REQUEST, b"a: b\r\n", step=50),
    "tiny chunks": Hostile(b"POST /_bulk HTTP/1.1\r\n" + CHUNKED, b"1\r\na\r\n", b"0\r\n\r\n"),
    "tiny chunks in bytes": Hostile(
        b"POST /_bulk HTTP/1.1\r\n" + CHUNKED, b"1\r\na\r\n", b"0\r\n\r\n", step=1
    ),
    "chunk extensions": Hostile(
        b"POST /_bulk HTTP/1.1\r\n" + CHUNKED, b"1" + b";a=b" * 900 + b"\r\na\r\n", b"0\r\n\r\n"
    ),
    "chunk extensions in bytes": Hostile(
        b"POST /_bulk HTTP/1.1\r\n" + CHUNKED, b"1" + b";a=b" * 900 + b"\r\na\r\n", b"0\r\n\r\n", step=1
    ),
    "white space in a chunk's line": Hostile(
        b"POST /_bulk HTTP/1.1\r\n" + CHUNKED, b"1;a" + b" \t" * 900 + b"=b\r\na\r\n", b"0\r\n\r\n"
    ),
    "a search in tiny chunks": Hostile(SEARCH + CHUNKED, b"1\r\na\r\n", b"0\r\n\r\n"),
    "a search in bytes": Hostile(SEARCH + CHUNKED, b"3\r\nabc\r\n", b"0\r\n\r\n", step=1),
    "a compressed search in tiny chunks": Hostile(
        SEARCH + b"Content-Encoding: gzip\r\n" + CHUNKED, b"1\r\na\r\n", b"0\r\n\r\n"
    ),
}
"""Answered or refused, but in any case read."""

OF_BODIES: Final = {
    "nearly the word": b"text_similarity_reranke",
    "nearly the word, escaped": b"\\u0074ext_similarity_reranke",
    "beginnings of the word, somewhere escaped": b"t" * 50 + b"\\u00e9",
    "escapes": b"\\u0074",
    "backslashes": b"\\",
    "fusions without a retriever": b'"rrf","linear","pinned"',
    "escapes of YAML": b"\\x74",
    "joined lines": b"t\\\n",
    "one joined line": b"t\\\n" + b" " * 10_000,
    "zeros": b"t\0",
}
OF_UPSTREAM: Final = {
    "options of Connection": Hostile(ANSWER + b"Connection: a", b",x%x", b"\r\n\r\n"),
    "lines of Connection": Hostile(ANSWER, b"connection: x%x\r\n"),
    "a head": Hostile(ANSWER, b"a: b\r\n"),
    "a head in bytes": Hostile(ANSWER, b"a: b\r\n", step=1),
    "a head in small pieces": Hostile(ANSWER, b"a: b\r\n", step=50),
    "a wrong line after many": Hostile(ANSWER, b"a:\r\n", b"b\r\n\r\n"),
    "100 Continue": Hostile(b"", b"HTTP/1.1 100 \r\n\r\n", b""),
    "100 Continue in small pieces": Hostile(b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"", step=30),
    "103 Early Hints": Hostile(b"", b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n", b""),
    "tiny chunks": Hostile(ANSWER + CHUNKED, b"1\r\na\r\n", b"0\r\n\r\n"),
    "tiny chunks in bytes": Hostile(ANSWER + CHUNKED, b"1\r\na\r\n", b"0\r\n\r\n", step=1),
    "trailers in bytes": Hostile(ANSWER + CHUNKED + b"0\r\n", b"a: b\r\n", step=1),
}


def to_client(data: list[bytes]) -> Relay:
    """An edge that gets all of it from a client."""
    relay = Relay(EdgeSettings(max_head=ByteSize(1 << 20)))
    for piece in data:
        relay.client.data_received(piece)
    return relay


def to_upstream(data: list[bytes], request: bytes = GET) -> Relay:
    """An edge that gets all of it as the answer to a request."""
    relay = Relay()
    relay.client.data_received(request)
    for piece in data:
        relay.upstream.data_received(piece)
    return relay


def requests_at_once(data: list[bytes]) -> Relay:
    """An edge that gets all of it from a client, and an answer to each request."""
    relay = to_client(data)
    for _ in range(sum(map(len, data)) // len(GET)):
        relay.upstream.data_received(OK)
    return relay


def trivial(value: int) -> int:
    return value


def spent(work: Callable[[T], object], make: Callable[[], T]) -> float:
    """Processor seconds of the quicker of two runs: the other was disturbed."""
    seconds = []
    for _ in range(2):
        data = make()
        gc.disable()
        began = process_time()
        work(data)
        seconds.append(process_time() - began)
        gc.enable()
    return min(seconds)


def check(work: Callable[[list[bytes]], Relay], hostile: Hostile, *, requests: int = 0) -> None:
    """`requests`: how many are in `SIZE` bytes, where each is relayed."""
    size = SIZE if hostile.step >= 50 else SIZE // 4
    many = hostile.pieces(size * GROWTH)
    relay = work(many)
    assert relay.at_client.written or relay.at_upstream.written or relay.shared.buffered, "it was not read"
    small = spent(work, lambda: hostile.pieces(size))
    large = spent(work, lambda: hostile.pieces(size * GROWTH))
    call = spent(lambda numbers: [trivial(number) for number in numbers], lambda: range(20_000)) / 20_000
    assert large < MOST_GROWTH * small + 2000 * call, "its cost grows faster than it does"
    calls = CALLS_FOR_A_BYTE * sum(map(len, many)) + CALLS_FOR_A_READ * len(many)
    calls += CALLS_FOR_A_REQUEST * GROWTH * requests
    assert large < call * (calls + 10_000), "it is dear"


@pytest.mark.parametrize("name", OF_CLIENTS)
async def test_what_a_client_sends(name: str) -> None:
    check(to_client, OF_CLIENTS[name])


@pytest.mark.parametrize("name", OF_BODIES)
@pytest.mark.parametrize("step", [1 << 30, 50], ids=["at once", "in small pieces"])
async def test_what_a_search_holds(name: str, step: int) -> None:
    check(to_client, Hostile(SEARCH + CHUNKED + b"ffffff\r\n", OF_BODIES[name], b"", step))


@pytest.mark.parametrize("name", OF_UPSTREAM)
async def test_what_upstream_sends(name: str) -> None:
    check(to_upstream, OF_UPSTREAM[name])


async def test_what_upstream_sends_in_chunks_to_a_client_that_knows_none() -> None:
    work = partial(to_upstream, request=b"GET / HTTP/1.0\r\n\r\n")
    check(work, OF_UPSTREAM["tiny chunks"])


@pytest.mark.parametrize("step", [1 << 30, 1000], ids=["at once", "in pieces"])
async def test_many_requests(step: int) -> None:
    check(requests_at_once, Hostile(b"", GET, b"", step), requests=SIZE // len(GET))


async def test_interim_answers_have_an_end() -> None:
    relay = to_upstream([b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000] * 11)
    assert b"HTTP/1.1 503 Service Unavailable" in relay.at_client.written
    assert relay.at_upstream.is_closing()
