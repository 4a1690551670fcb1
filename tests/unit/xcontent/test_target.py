"""Targets are read as ``RestRequest`` and ``RestUtils`` read them, according to answers of Elasticsearch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.xcontent.target import RequestTarget, decode


@pytest.mark.parametrize(
    ("raw", "path", "query", "route"),
    [
        ("/i/_search", "/i/_search", "", "/i/_search"),
        ("i/_search//", "i/_search//", "", "/i/_search"),
        ("/_flush#/_search", "/_flush", "", "/_flush"),
        ("/i/_search#x?size=1#y", "/i/_search", "size=1", "/i/_search"),
        ("/i/_search?a?b#c?d", "/i/_search", "a?b", "/i/_search"),
        ("//i/_search", "//i/_search", "", "//i/_search"),
        ("http://h/_search", "http://h/_search", "", "/http://h/_search"),
        ("?a", "", "a", "/"),
    ],
)
def test_parts(raw: str, path: str, query: str, route: str) -> None:
    target = RequestTarget.of(raw)
    assert (target.path, target.query, target.route) == (path, query, route)


@pytest.mark.parametrize(
    "raw", ["/a%2fb", "/a%%b", "/%%zz", "/a#%", "/a?b#%", "/a?%25=%%", "/a", "/a?=%C0", "/caf\xe9?\xe9=%e9"]
)
def test_readable(raw: str) -> None:
    assert RequestTarget.of(raw).is_readable


@pytest.mark.parametrize(
    "raw",
    [
        "/%zz",
        "/a%",
        "/a%3",
        "/a%%%",
        "/%u0041",
        "/a?%",
        "/a?b=%z",
        "/a?a%+b",
        "/a?b=1;%zz",
        "/a#?=%g0",
        "/%/%41",
    ],
)
def test_what_elasticsearch_cannot_decode(raw: str) -> None:
    assert not RequestTarget.of(raw).is_readable


@pytest.mark.parametrize(
    ("raw", "in_path", "in_query"),
    [
        ("caf%C3%A9", "café", "café"),
        ("caf\xe9", "café", "café"),
        ("caf\xc3\xa9", "cafÃ©", "cafÃ©"),
        ("caf\xe9%20", "caf� ", "caf� "),
        ("caf\xe9+", "café+", "caf� "),
        ("a%%41", "a%41", "a%41"),
        ("%C0%AF", "��", "��"),
        ("%ED%A0%80", "�", "�"),
        ("%F0%9F%98%80", "😀", "😀"),
        ("a+b%2B", "a+b+", "a b+"),
        ("%0a%00", "\n\x00", "\n\x00"),
    ],
)
def test_values(raw: str, in_path: str, in_query: str) -> None:
    assert decode(raw) == in_path
    assert decode(raw, plus_is_space=True) == in_query


@given(st.binary())
def test_any_target_is_read(raw: bytes) -> None:
    target = RequestTarget.of(raw.decode("latin-1"))
    assert "?" not in target.path
    assert "#" not in target.path + target.query
    decode(target.path)
    decode(target.query, plus_is_space=True)
