"""Settings that become parts of a URL."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from rerank_proxy.inference.remote.urls import (
    UrlPartError,
    authority,
    below,
    checked,
    in_header,
    rerank_url,
    segment,
)


@given(st.text())
def test_a_segment_stays_one(value: str) -> None:
    try:
        url = URL(f"https://host/a/{segment(value)}/b?c=d")
    except UrlPartError:
        assert checked("x", segment)(value) is not None
        return
    assert url.raw_host == "host"
    assert url.parts == ("/", "a", value, "b")
    assert url.query_string == "c=d"


@given(st.text())
def test_an_authority_is_a_host_and_a_port(value: str) -> None:
    try:
        url = URL(f"https://{authority(value)}/a?b=c")
    except UrlPartError:
        assert checked("x", authority)(value) is not None
        return
    except ValueError:
        return  # a port that is too large
    assert (url.user, url.password, url.raw_path_qs, url.raw_fragment) == (None, None, "/a?b=c", "")


@pytest.mark.parametrize("value", ["", ".", "..", "\ud800"])
def test_what_is_not_a_segment(value: str) -> None:
    with pytest.raises(UrlPartError):
        segment(value)


@pytest.mark.parametrize(
    "value",
    ["", "a/b", "a?b", "a#b", "a@b", "a:b", "a:123456", "a b", "a\n", "[::1]", "a%2fb", "\u0430", "a\\b"],
)
def test_what_is_not_an_authority(value: str) -> None:
    with pytest.raises(UrlPartError):
        authority(value)


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://h", "https://h/v1"),
        ("https://h/", "https://h/v1"),
        ("https://h/a/", "https://h/a/v1"),
        ("https://h/a?b=c", "https://h/a/v1?b=c"),
        ("https://h/a%2Fb", "https://h/a%2Fb/v1"),
    ],
)
def test_a_path_is_put_in_front_of_the_query(base: str, url: str) -> None:
    assert below(base, "/v1") == url


def test_a_url_may_be_that_of_the_whole_call() -> None:
    assert rerank_url("https://h/x", "/v1/rerank") == "https://h/x/v1/rerank"
    assert rerank_url("https://h/x/rerank/", "/v1/rerank") == "https://h/x/rerank"
    assert rerank_url("https://h/x/rerank?a=b", "/v1/rerank") == "https://h/x/rerank?a=b"


@pytest.mark.parametrize("value", ["a\r\nb", "a\0", "a\x7f", "\ud800", "\x85"])
def test_what_no_header_carries(value: str) -> None:
    assert "[x] cannot be used: the value of [x] holds a line break" in (in_header("x")(value) or "")
    assert in_header("x")("a value") is None
