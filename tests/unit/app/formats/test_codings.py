"""Content codings are undone and made as Elasticsearch does."""

import gzip
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.app.formats import codings
from proxy.errors import ElasticsearchError

LIMIT = 10_000


def coded(body: bytes, coding: str) -> bytes:
    bits = {"gzip": 31, "deflate": 15, "raw": -15}[coding]
    encoder = zlib.compressobj(9, zlib.DEFLATED, bits)
    return encoder.compress(body) + encoder.flush()


@given(st.binary(max_size=2000), st.sampled_from(["gzip", "GZIP", " x-gzip ", "deflate", "x-deflate"]))
def test_codings_are_undone(body: bytes, coding: str) -> None:
    sent = coded(body, "gzip" if "gzip" in coding.lower() else "deflate")
    assert codings.decode(sent, coding, LIMIT) == body


@given(st.binary(min_size=1, max_size=2000))
def test_deflate_without_zlibs_header(body: bytes) -> None:
    """Netty, hence Elasticsearch, takes both forms."""
    assert codings.decode(coded(body, "raw"), "deflate", LIMIT) == body


@pytest.mark.parametrize("coding", [None, "", "identity", "br", "zstd", "unknown"])
def test_other_codings_are_left_as_they_are(coding: str | None) -> None:
    assert codings.decode(b"{}", coding, LIMIT) == b"{}"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_bombs_are_refused_without_being_blown_up(coding: str) -> None:
    bomb = coded(bytes(50_000_000), coding)
    assert len(bomb) < 100_000
    with pytest.raises(ElasticsearchError) as raised:
        codings.decode(bomb, coding, LIMIT)
    assert raised.value.status == 413
    assert codings.decode(coded(bytes(LIMIT), coding), coding, LIMIT) == bytes(LIMIT)
    with pytest.raises(ElasticsearchError):
        codings.decode(coded(bytes(LIMIT + 1), coding), coding, LIMIT)


@given(st.binary(min_size=1, max_size=300), st.sampled_from(["gzip", "deflate"]), st.data())
def test_truncated_bodies_are_refused(body: bytes, coding: str, data: st.DataObject) -> None:
    sent = coded(body, coding)
    cut = sent[: data.draw(st.integers(2, len(sent) - 1))]
    with pytest.raises(ElasticsearchError) as raised:
        codings.decode(cut, coding, LIMIT)
    assert raised.value.status == 400


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate"]))
def test_corrupt_bodies_never_crash(body: bytes, coding: str) -> None:
    try:
        codings.decode(body, coding, LIMIT)
    except ElasticsearchError as failure:
        assert failure.status in (400, 413)  # noqa: PT017  # random bytes may be a valid coding as well


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (None, None),
        ("", None),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("deflate, gzip", "deflate"),
        ("br, gzip;q=0.5", "gzip"),
        ("gzip;q=0, deflate", "deflate"),
        ("gzip; q=0.0", None),
        ("br, zstd", None),
        ("identity", None),
    ],
)
def test_the_first_acceptable_coding_is_used(accepted: str | None, coding: str | None) -> None:
    assert codings.choose(accepted) == coding


@pytest.mark.parametrize(("coding", "decode"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
def test_answers_of_any_size_are_compressed(coding: str, decode: Callable[[bytes], bytes]) -> None:
    for body in (b"{}", b'{"took":1}' * 20_000):
        assert decode(codings.encode(body, coding)) == body
