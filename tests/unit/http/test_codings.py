"""Content codings are undone and made as Elasticsearch does."""

import gzip
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.http import codings
from tests.support import snappy

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


def test_snappy() -> None:
    assert codings.decode(snappy.compress(b"{}"), "Snappy", LIMIT) == b"{}"
    with pytest.raises(ElasticsearchError, match=r"\[snappy\] body cannot be decoded") as raised:
        codings.decode(b"{}" * 20, "snappy", LIMIT)
    assert raised.value.status == 400


@pytest.mark.parametrize("coding", [None, "", "identity", "br", "zstd", "unknown", "x-snappy", "gzip,"])
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
def test_of_truncated_bodies_the_beginning_is_left(body: bytes, coding: str, data: st.DataObject) -> None:
    sent = coded(body, coding)
    cut = sent[: data.draw(st.integers(0, len(sent) - 1))]
    assert body.startswith(codings.decode(cut, coding, LIMIT))
    with pytest.raises(ElasticsearchError, match="it ends too early"):
        codings.decode(cut, coding, LIMIT, of_request=False)


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate"]))
def test_corrupt_bodies_never_crash(body: bytes, coding: str) -> None:
    try:
        codings.decode(body, coding, LIMIT)
    except ElasticsearchError as failure:
        assert failure.status in (400, 413)  # noqa: PT017  # random bytes may be a valid coding as well


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("GZIP", None),
        ("deflate, gzip", "gzip"),
        ("deflate, gzip;q=0.5", "deflate"),
        ("x-gzip", "gzip"),
        ("deflate;q=high", None),
        ("gzip, snappy", "gzip"),
        ("*", None),
        ("br, gzip;q=0.5", "gzip"),
        ("gzip;q=0, deflate", "deflate"),
        ("gzip; q=0.0", None),
        ("br, zstd", None),
        ("identity", None),
    ],
)
def test_the_coding_that_the_client_would_rather_have(accepted: str, coding: str | None) -> None:
    assert codings.choose(accepted) == coding


@pytest.mark.parametrize(("coding", "decode"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
def test_answers_of_any_size_are_compressed(coding: str, decode: Callable[[bytes], bytes]) -> None:
    for body in (b"{}", b'{"took":1}' * 20_000):
        assert decode(codings.encode(body, coding)) == body
