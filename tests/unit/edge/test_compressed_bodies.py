"""Compressed bodies: what they may decode to, what of it counts, and how much of it is decoded."""

import asyncio
import gzip
import json
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ByteSize

from rerank_proxy.edge import inspection
from rerank_proxy.http.inflate import STEP, decompress
from rerank_proxy.settings import EdgeSettings
from tests.support import snappy
from tests.unit.edge.test_relay import OK, Relay, chunked, cut, sized

MIB = 1024 * 1024
NAME = b"text_similarity_reranker"
OURS = b'{"retriever":{"text_similarity_reranker":{"field":"plot"}}}'
GZIP = b"\r\nContent-Encoding: gzip"
SEARCH = b"POST /films/_search HTTP/1.1"


async def looked(relay: Relay) -> None:
    """Wait until the inspection on a thread has ended."""
    relay.shared.threads.shutdown()
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def by_path(*paths: bytes) -> list[bytes]:
    return [b"POST " + path + b" HTTP/1.1" for path in paths]


def answer_of(relay: Relay) -> tuple[bytes, dict[str, object]]:
    head, _, body = bytes(relay.at_client.written).partition(b"\r\n\r\n")
    return head.partition(b"\r\n")[0], json.loads(body)


@pytest.mark.parametrize("framed", ["sized", "chunked"])
@pytest.mark.parametrize(
    "line",
    by_path(
        b"/_search",
        b"/films/_search",
        b"/_msearch",
        b"/_search/template",
        b"/_async_search",
        b"/_search?source=text_similarity_reranker",
        b"/_inference/rerank/minilm",
        b"/_inference/minilm",
    ),
)
async def test_a_bomb_for_the_application_is_refused(line: bytes, framed: str) -> None:
    relay = Relay()
    bomb = gzip.compress(OURS + b" " * 20 * MIB)
    limit = len(bomb) * 100
    sent = sized(bomb, line + GZIP) if framed == "sized" else chunked([bomb[:7], bomb[7:]], line + GZIP)
    relay.client.data_received(sent)
    await looked(relay)
    status, answer = answer_of(relay)
    assert status == b"HTTP/1.1 413 Request Entity Too Large"
    reason = f"the decoded body is larger than [{limit}] bytes, the most that [edge.max_inflation] and "
    cause = {"type": "content_too_long_exception", "reason": reason + "[edge.max_body] allow"}
    assert answer == {"error": {"root_cause": [cause], **cause}, "status": 413}
    assert not relay.at_app.written
    assert not relay.at_upstream.written
    assert relay.shared.buffered == 0


@pytest.mark.parametrize("body", [b"{}", b'{"query":{"match_all":{}}}', b'{"retriever":{"rrf":{}}}'])
async def test_another_bomb_is_upstreams_to_refuse(body: bytes) -> None:
    relay = Relay()
    sent = sized(gzip.compress(body + b" " * 20 * MIB + OURS), SEARCH + GZIP)
    relay.client.data_received(sent)
    await looked(relay)
    assert relay.at_upstream.written == sent
    relay.upstream.data_received(OK)
    assert relay.at_client.written == OK
    assert relay.shared.buffered == 0


@pytest.mark.parametrize("decoded", [100, 100_000, MIB])
async def test_what_is_short_may_repeat_itself(decoded: int) -> None:
    relay = Relay()
    body = OURS + b" " * (decoded - len(OURS))
    sent = sized(gzip.compress(body), SEARCH + GZIP)
    relay.client.data_received(sent)
    await looked(relay)
    assert relay.at_app.written == sent


@pytest.mark.parametrize("line", by_path(b"/_search", b"/_inference/rerank/minilm"))
async def test_decoded_bytes_count_where_the_application_will_decode_them(line: bytes) -> None:
    relay = Relay(EdgeSettings(max_inflation=2000))
    body = OURS + b" " * 5 * MIB
    relay.client.data_received(sized(gzip.compress(body), line + GZIP))
    await looked(relay)
    assert relay.shared.buffered == len(body)
    relay.app.data_received(OK)
    assert relay.at_client.written == OK
    assert relay.shared.buffered == 0


async def test_those_that_go_upstream_count_as_they_are_held() -> None:
    relay = Relay()
    coded = gzip.compress(b" " * 900_000)
    relay.client.data_received(sized(coded, SEARCH + GZIP))
    await looked(relay)
    assert relay.at_upstream.written
    assert relay.shared.buffered == len(coded)


async def test_beyond_the_bytes_of_all_together_a_body_is_rejected() -> None:
    relay = Relay(EdgeSettings(max_buffered=ByteSize(2 * MIB)))
    relay.shared.reserve(MIB + 1)
    relay.client.data_received(sized(gzip.compress(OURS + b" " * (MIB - len(OURS))), SEARCH + GZIP))
    await looked(relay)
    status, _ = answer_of(relay)
    assert status == b"HTTP/1.1 429 Too Many Requests"
    assert not relay.at_app.written
    assert relay.shared.buffered == MIB + 1


SNAPPY = b"\r\nContent-Encoding: Snappy"


@pytest.mark.parametrize("size", [1, 100, 50_000, 2 * MIB])
async def test_snappy(size: int) -> None:
    """Decoded in Python, which is slow: but for the shortest bodies, not on the event loop."""
    relay = Relay()
    sent = sized(snappy.compress(OURS + b" " * size, copies=size < 1000), SEARCH + SNAPPY)
    relay.client.data_received(sent)
    assert bool(relay.at_app.written) == (size < 1000)
    await looked(relay)
    assert relay.at_app.written == sent


async def test_of_snappy_so_much_is_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "MAX_SNAPPY_BYTES", 1000)
    for size, is_refused in ((500, False), (1000, True)):
        relay = Relay()
        relay.client.data_received(sized(snappy.compress(b"{}" + b" " * size, copies=False), SEARCH + SNAPPY))
        await looked(relay)
        assert bool(relay.at_upstream.written) != is_refused
        if is_refused:
            status, answer = answer_of(relay)
            assert status == b"HTTP/1.1 413 Request Entity Too Large"
            reason = "the [snappy] body of a search or an inference is longer than [1000] bytes; use another "
            cause = {"type": "content_too_long_exception", "reason": reason + "coding"}
            assert answer == {"error": {"root_cause": [cause], **cause}, "status": 413}
            assert relay.shared.buffered == 0


CODINGS = st.sampled_from(
    [
        (b"gzip", gzip.compress),
        (b"deflate", zlib.compress),
        (b"snappy", partial(snappy.compress, copies=False)),
        (b"br", bytes),
        (b"", bytes),
    ]
)


@given(
    st.binary(max_size=200),
    st.integers(0, 300_000),
    CODINGS,
    st.booleans(),
    st.booleans(),
    st.lists(st.integers(0, 400), max_size=6),
)
async def test_whatever_is_sent_what_counts_is_let_go(
    start: bytes,
    spaces: int,
    coding: tuple[bytes, Callable[[bytes], bytes]],
    ours: bool,
    in_chunks: bool,
    cuts: list[int],
) -> None:
    assume(NAME not in start)  # constants of the code are drawn too
    name, encode = coding
    body = start + (OURS if ours else b"") + b" " * spaces
    coded = encode(body)
    line = SEARCH + b"\r\nContent-Encoding: " + name
    relay = Relay()
    for piece in cut(chunked([coded], line) if in_chunks else sized(coded, line), cuts):
        relay.client.data_received(piece)
    await looked(relay)
    at, connection = (relay.at_app, relay.app) if ours else (relay.at_upstream, relay.upstream)
    assert at.written
    may_not_count = not name and not ours and not in_chunks  # when it came in one piece
    assert may_not_count or relay.shared.buffered >= (len(body) if ours else len(coded))
    connection.data_received(OK)
    assert relay.shared.buffered == 0


async def test_no_more_is_decoded_than_is_allowed_and_little_on_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoded: list[int] = []
    on_loop: list[int] = []

    def counting(content: Iterable[bytes], coding: bytes) -> Iterator[bytes]:
        for piece in decompress(content, coding):
            decoded.append(len(piece))
            if threading.current_thread() is threading.main_thread():
                on_loop.append(len(piece))
            yield piece

    monkeypatch.setattr(inspection, "decompress", counting)
    for body in (b" " * 90 * MIB, OURS + b" " * 90 * MIB, b" " * MIB):
        relay = Relay()
        coded = gzip.compress(body)
        relay.client.data_received(sized(coded, SEARCH + GZIP))
        await looked(relay)
        assert relay.at_upstream.written or relay.at_client.written
        once = max(len(coded) * 100, MIB) + STEP
        assert sum(decoded) - sum(on_loop) <= once
        assert sum(on_loop) <= inspection.INLINE_DECODED_BYTES + STEP
        decoded.clear()
        on_loop.clear()


async def test_a_long_body_is_looked_into_without_holding_it() -> None:
    relay = Relay(EdgeSettings(max_inflation=2000))
    sent = sized(gzip.compress(b" " * 50 * MIB + OURS), SEARCH + GZIP)
    tracemalloc.start()
    try:
        relay.client.data_received(sent)
        await looked(relay)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(sent) + 10 * STEP
    finally:
        tracemalloc.stop()
    assert relay.at_app.written == sent
    assert relay.shared.buffered == 50 * MIB + len(OURS)
