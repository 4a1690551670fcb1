import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rerank_proxy.http.framing import (
    MAX_CHUNK_LINE,
    MAX_TRAILERS,
    Body,
    BodyUntilClose,
    ChunkedBody,
    FramingError,
    SizedBody,
    content,
    request_body,
    response_body,
)
from rerank_proxy.http.head import parse_request, parse_response


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(ends)]


def feed_all(body: Body, pieces: list[bytes]) -> tuple[int, bytes]:
    """How many bytes belong to the body, and its content."""
    used = 0
    payload: list[bytes] = []
    for piece in pieces:
        if body.done:
            break
        used += body.feed(piece, 0, payload)
    return used, b"".join(payload)


CUTS = st.lists(st.integers(0, 10_000), max_size=8)
EXTENSIONS = st.sampled_from([b"", b";a", b" ; a=b", b';a="q\\"\xe9 ;"', b";a;b=c"])
TRAILERS = st.lists(st.sampled_from([b"X-T: 1", b"Content-MD5:  \xe9", b"A:"]), max_size=3)


@st.composite
def chunked_messages(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A body in chunks, and its content."""
    chunks = draw(st.lists(st.tuples(st.binary(min_size=1, max_size=40), EXTENSIONS), max_size=6))
    size = draw(st.sampled_from([b"%x", b"%X", b"0%x", b"000%x"]))
    raw = b"".join(size % len(data) + extension + b"\r\n" + data + b"\r\n" for data, extension in chunks)
    raw += b"0" + draw(EXTENSIONS) + b"\r\n"
    raw += b"".join(line + b"\r\n" for line in draw(TRAILERS)) + b"\r\n"
    return raw, b"".join(data for data, _ in chunks)


@given(chunked_messages(), st.binary(max_size=30), CUTS)
def test_chunks_end_at_the_same_byte_however_they_are_cut(
    message: tuple[bytes, bytes], following: bytes, cuts: list[int]
) -> None:
    raw, expected = message
    body = ChunkedBody()
    used, payload = feed_all(body, pieces_of(raw + following, cuts))
    assert body.done
    assert (used, payload) == (len(raw), expected)
    assert b"".join(content(pieces_of(raw, cuts), chunked=True)) == expected


@given(chunked_messages(), st.data())
def test_a_part_of_a_chunked_body_is_neither_complete_nor_wrong(
    message: tuple[bytes, bytes], data: st.DataObject
) -> None:
    raw, _ = message
    body = ChunkedBody()
    part = raw[: data.draw(st.integers(0, len(raw) - 1))]
    assert feed_all(body, [part])[0] == len(part)
    assert not body.done


def reference(data: bytes) -> int | None:
    """Where a chunked body ends in `data` by RFC 9112 §7.1; None when it is incomplete or wrong."""
    position = 0
    token = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
    quoted = rb'"([\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
    extension = rb"[\t ]*;[\t ]*T([\t ]*=[\t ]*(T|Q))?".replace(b"T", token).replace(b"Q", quoted)
    line = re.compile(rb"([0-9A-Fa-f]{1,16})(" + extension + rb")*\r\n")
    while True:
        match = line.match(data, position)
        if match is None:
            return None
        position = match.end()
        size = int(match[1], 16)
        if size == 0:
            break
        position += size + 2
        if len(data) < position or data[position - 2 : position] != b"\r\n":
            return None
    trailer = re.compile(rb"(" + token + rb":[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n").match(data, position)
    return trailer.end() if trailer else None


@given(
    st.lists(
        st.sampled_from([b"0", b"1", b"a", b"A", b"\r\n", b"\r", b"\n", b";", b"x", b'"', b"=", b" ", b":"]),
        max_size=24,
    ).map(b"".join),
    CUTS,
)
@example(b"1\r\nx\r\n0\r\n\r\n", [])
def test_chunks_are_judged_like_the_reference_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    body = ChunkedBody()
    try:
        used, _ = feed_all(body, pieces_of(data, cuts))
    except FramingError:
        assert reference(data) is None
        return
    assert reference(data) == (used if body.done else None)


@pytest.mark.parametrize(
    "data",
    [
        b"5 \r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"\r\n",
        b"+5\r\n",
        b"-1\r\n",
        b"0x5\r\n",
        b"5\n",
        b"5\r\nhelloo\r\n",
        b"5\r\nhello\n",
        b"5;\r\n",
        b"5;a=\r\n",
        b"5;a\x00\r\n",
        b"11111111111111111\r\n",
        b"0\r\nA\r\n\r\n",
        b"0\r\n A: 1\r\n\r\n",
        b"0\r\nA : 1\r\n\r\n",
        b"0\r\nA: 1\n\r\n",
    ],
)
def test_wrong_chunks(data: bytes) -> None:
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))]):
        with pytest.raises(FramingError):
            feed_all(ChunkedBody(), pieces)


@pytest.mark.parametrize("data", [b"5\r\nhellox", b"zz", b"\r"])
def test_chunks_that_can_no_longer_become_right_are_refused_without_a_line_end(data: bytes) -> None:
    with pytest.raises(FramingError):
        feed_all(ChunkedBody(), [data])


def test_endless_lines_are_refused() -> None:
    with pytest.raises(FramingError, match="too long"):
        feed_all(ChunkedBody(), [b"5;", *[b"a" * 100] * (MAX_CHUNK_LINE // 100 + 1)])
    with pytest.raises(FramingError, match="too long"):
        feed_all(ChunkedBody(), [b"0\r\n", *[b"A: " + b"b" * 100 + b"\r\n"] * (MAX_TRAILERS // 100)])


@given(st.binary(min_size=1, max_size=50), st.binary(max_size=20), CUTS)
def test_sized_bodies_end_after_their_length(data: bytes, following: bytes, cuts: list[int]) -> None:
    body = SizedBody(len(data))
    assert feed_all(body, pieces_of(data + following, cuts)) == (len(data), data)
    assert body.done


def test_an_empty_sized_body_is_complete_from_the_start() -> None:
    body = SizedBody(0)
    assert body.done
    assert body.feed(b"next", 1) == 1


def test_a_body_until_close_takes_everything_and_is_never_complete_by_itself() -> None:
    body = BodyUntilClose()
    assert feed_all(body, [b"ab", b"c"]) == (3, b"abc")
    assert not body.done


def test_content_without_chunks_is_the_pieces_themselves() -> None:
    assert list(content([b"a", b"b"], chunked=False)) == [b"a", b"b"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (b"", None),
        (b"content-length: 0\r\n", None),
        (b"content-length: 3\r\n", SizedBody),
        (b"transfer-encoding: chunked\r\n", ChunkedBody),
    ],
)
def test_how_a_request_is_delimited(fields: bytes, expected: type[Body] | None) -> None:
    body = request_body(parse_request(b"POST / HTTP/1.1\r\n" + fields + b"\r\n"))
    assert body is None if expected is None else type(body) is expected


@pytest.mark.parametrize(
    ("status", "method", "fields", "expected"),
    [
        (200, b"GET", b"", BodyUntilClose),
        (200, b"GET", b"content-length: 3\r\n", SizedBody),
        (200, b"GET", b"transfer-encoding: chunked\r\n", ChunkedBody),
        (200, b"HEAD", b"", None),
        (200, b"HEAD", b"content-length: 3\r\n", None),
        (404, b"HEAD", b"transfer-encoding: chunked\r\n", None),
        (204, b"DELETE", b"", None),
        (304, b"GET", b"content-length: 3\r\n", None),
        (204, b"GET", b"transfer-encoding: chunked\r\n", None),
    ],
)
def test_how_a_response_is_delimited(
    status: int, method: bytes, fields: bytes, expected: type[Body] | None
) -> None:
    body = response_body(parse_response(b"HTTP/1.1 %d x\r\n%b\r\n" % (status, fields)), method)
    assert body.done if expected is None else type(body) is expected
    assert body.until_close is (expected is BodyUntilClose)


@pytest.mark.parametrize("line", [b"3\rx", b"0\r\n\rx", b"0\r\nX: \rx", b"3;a\r3"])
def test_a_line_without_an_end_is_refused_before_the_rest_comes(line: bytes) -> None:
    with pytest.raises(FramingError):
        ChunkedBody().feed(line)
