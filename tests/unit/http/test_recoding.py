"""Content that is decoded, changed and encoded again, in any pieces."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.http.inflate import STEP, CodingError
from rerank_proxy.http.recoding import LEVEL, WINDOW_BITS, Recoded


class Capitals:
    def feed(self, data: bytes) -> bytes:
        return data.upper()

    def end(self) -> bytes:
        return b"!"


def packed(data: bytes, coding: str) -> bytes:
    encoder = zlib.compressobj(LEVEL, zlib.DEFLATED, WINDOW_BITS[coding])
    return encoder.compress(data) + encoder.flush()


def recoded(data: bytes, coding: str, size: int) -> bytes:
    change = Recoded(Capitals(), coding)
    return b"".join(change.feed(data[at : at + size]) for at in range(0, len(data), size)) + change.end()


@given(st.binary(max_size=5000), st.sampled_from(["gzip", "deflate"]), st.integers(1, 500))
def test_any_pieces(data: bytes, coding: str, size: int) -> None:
    assert recoded(packed(data, coding), coding, size) == packed(data.upper() + b"!", coding)


def test_much_in_one_piece() -> None:
    data = bytes(50 * STEP)
    assert gzip.decompress(recoded(packed(data, "gzip"), "gzip", 10**9)) == data + b"!"


@pytest.mark.parametrize("broken", [b"x", packed(b"abc", "gzip")[:-1], b""])
def test_what_cannot_be_decoded(broken: bytes) -> None:
    with pytest.raises(CodingError):
        recoded(broken, "gzip", 10)
