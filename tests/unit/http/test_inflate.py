"""Content codings are undone in pieces as Netty undoes them."""

import gzip
import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rerank_proxy.http.inflate import (
    ALWAYS_ALLOWED,
    STEP,
    CodingError,
    EndsTooEarlyError,
    decoded_limit,
    decompress,
    is_compressed,
)
from tests.support import snappy


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(level=9, wbits=-15)
    return compressor.compress(data) + compressor.flush()


ENCODERS: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "gzip": (b"gzip", gzip.compress),
    "x-gzip": (b"x-gzip", gzip.compress),
    "deflate": (b"deflate", zlib.compress),
    "x-deflate": (b"x-deflate", zlib.compress),
    "raw deflate": (b"deflate", raw_deflate),
    "snappy": (b"snappy", snappy.compress),
}


def decoded(coding: bytes, coded: bytes, cuts: Sequence[int] = ()) -> bytes:
    assert is_compressed(coding)
    ends = sorted({0, len(coded), *(min(cut, len(coded)) for cut in cuts)})
    return b"".join(decompress((coded[start:end] for start, end in pairwise(ends)), coding))


REPEATING = st.builds(bytes.__mul__, st.binary(max_size=90), st.integers(0, 80))
CUTS = st.lists(st.integers(0, 400), max_size=8)


@given(st.sampled_from(sorted(ENCODERS)), st.one_of(st.binary(max_size=300), REPEATING), CUTS)
def test_what_was_coded_comes_back_however_it_is_cut(name: str, data: bytes, cuts: list[int]) -> None:
    coding, encode = ENCODERS[name]
    assert decoded(coding, encode(data), cuts) == data


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_long_bodies(name: str) -> None:
    coding, encode = ENCODERS[name]
    data = b"".join(b'{"n":%d}' % n for n in range(30_000 if name != "snappy" else 2000))
    pieces = list(decompress([encode(data)], coding))
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= STEP


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=6), CUTS)
def test_gzip_members_follow_one_another(parts: list[bytes], cuts: list[int]) -> None:
    assert decoded(b"gzip", b"".join(map(gzip.compress, parts)), cuts) == b"".join(parts)


@given(st.binary(max_size=9), CUTS)
def test_less_than_a_header_after_a_member_is_not_looked_at(rest: bytes, cuts: list[int]) -> None:
    assert decoded(b"gzip", gzip.compress(b"{}") + rest, cuts) == b"{}"


@given(st.binary(max_size=40), CUTS)
def test_what_follows_deflate_is_ignored(rest: bytes, cuts: list[int]) -> None:
    assert decoded(b"deflate", zlib.compress(b"{}") + rest, cuts) == b"{}"


@given(st.sampled_from(sorted(ENCODERS)), st.binary(max_size=300), st.data())
def test_of_a_body_that_ends_too_early_the_beginning_is_left(
    name: str, data: bytes, draw: st.DataObject
) -> None:
    coding, encode = ENCODERS[name]
    coded = encode(data)
    cut = coded[: draw.draw(st.integers(0, len(coded) - 1))]
    assume(cut != snappy.BEGINNING)  # a stream of no data, whose end nothing marks
    pieces: list[bytes] = []
    with pytest.raises(EndsTooEarlyError):
        pieces.extend(decompress([cut], coding))
    assert data.startswith(b"".join(pieces))


@pytest.mark.parametrize(
    ("coding", "coded"),
    [
        (b"gzip", b'{"query":{}}'),
        (b"gzip", zlib.compress(b"{}")),
        (b"gzip", gzip.compress(b"{}") + b"\0" * 10),
        (b"gzip", gzip.compress(b"{}")[:-8] + b"\0" * 8),
        (b"deflate", b'{"query":{}}'),
        (b"deflate", zlib.compress(b"{}")[:-4] + b"\0" * 4),
        (b"snappy", b'{"query":{}}'),
        (b"snappy", snappy.chunk(1, b"{}")),
        (b"snappy", snappy.BEGINNING.lower()),
        (b"snappy", snappy.BEGINNING + snappy.chunk(2, b"{}")),
        (b"snappy", snappy.BEGINNING + b"\x01\x03\x00\x00abc"),
        (b"snappy", snappy.BEGINNING + b"\x01\x05\x00\x01"),
        (b"snappy", b""),
        (b"snappy", snappy.BEGINNING + snappy.chunk(0, b"\x02\x00a")),
        (b"snappy", snappy.BEGINNING + snappy.chunk(0, b"\x05\x00a" + snappy.copy(2, 4))),
        (b"snappy", snappy.BEGINNING + snappy.chunk(0, b"\x05\x00a" + snappy.copy(1, 4)[:1])),
        (b"snappy", snappy.BEGINNING + snappy.chunk(0, b"\xff\xff\xff\xff\xff")),
        (b"snappy", snappy.BEGINNING + snappy.chunk(0, b"\xff\xff\x7f")),
    ],
)
def test_what_is_of_another_coding(coding: bytes, coded: bytes) -> None:
    with pytest.raises(CodingError, match=r"\w"):
        decoded(coding, coded)


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_are_too_odd_for_snappy(content: bytes, as_block: bool) -> None:
    try:
        decoded(b"snappy", snappy.BEGINNING + (snappy.chunk(0, content) if as_block else content))
    except CodingError as fault:
        assert str(fault)  # noqa: PT017  # random bytes may be Snappy as well


def test_snappy_skips_what_it_may() -> None:
    skipped = snappy.chunk(0x80, b"x") + snappy.BEGINNING + snappy.chunk(0xFE, b"")
    assert decoded(b"snappy", snappy.BEGINNING + skipped + snappy.chunk(1, b"{}")) == b"{}"


def test_a_copy_goes_on_with_what_it_copies() -> None:
    for offset in (1, 2, 3, 70, 3000):
        data = (b"%d" % offset * offset)[:offset]
        body = snappy.varint(offset + 60) + snappy.written_literal(data) + snappy.copy(offset, 60)
        expected = (data * 61)[: offset + 60]
        assert decoded(b"snappy", snappy.BEGINNING + snappy.chunk(0, body)) == expected


@pytest.mark.parametrize("coding", [b"", b"identity", b"br", b"zstd", b"x-snappy", b"gzip, gzip", b"gzip,"])
def test_no_other_coding_is_undone(coding: bytes) -> None:
    assert not is_compressed(coding)


MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("coded", "limit"),
    [(0, MIB), (20, MIB), (MIB // 100, MIB), (MIB, 100 * MIB), (2 * MIB, 100 * MIB), (50_000, 5_000_000)],
)
def test_a_floor_a_slope_and_a_ceiling(coded: int, limit: int) -> None:
    assert decoded_limit(coded, 100, 100 * MIB) == limit


@given(st.integers(0, 1 << 40), st.integers(1, 2000), st.integers(1, 1 << 40))
def test_the_limit_of_all_bodies_is_never_exceeded(coded: int, max_inflation: int, max_body: int) -> None:
    limit = decoded_limit(coded, max_inflation, max_body)
    assert limit <= max_body
    assert limit >= min(coded * max_inflation, max_body)
    assert limit >= min(ALWAYS_ALLOWED, max_body)
