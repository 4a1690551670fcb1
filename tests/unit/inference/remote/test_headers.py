"""Headers that endpoints may send, and those that say how a message is sent."""

import string
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.inference.remote.headers import (
    HeaderNotAllowedError,
    check_headers,
    check_name,
    check_value,
)

RESERVED = [
    "Transfer-Encoding", "Content-Length", "Host", "Connection", "Expect", "TE", "Trailer",
    "Upgrade", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Proxy-Authenticate",
    "HTTP2-Settings", "Content-Encoding", "Accept-Encoding", "Forwarded", "Via", "X-Forwarded-Host",
    "X-Forwarded-For", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-Host",
    "Max-Forwards",
]  # fmt: skip
SPELLINGS: list[Callable[[str], str]] = [
    str,
    str.lower,
    str.upper,
    str.swapcase,
    lambda name: name.replace("-", "_"),
    lambda name: name.replace("-", "."),
    lambda name: name.replace("-", "--"),
    lambda name: f"_{name}_",
    lambda name: f"{name}.",
    lambda name: f" {name}",
    lambda name: f"{name} ",
    lambda name: f"{name}\t",
    lambda name: f"{name}:",
    lambda name: f"{name}\r\n",
    lambda name: f"X: y\r\n{name}",
    lambda name: f"{name}\0",
    lambda name: name.replace("-", "\u2010"),
    lambda name: name.replace("e", "\u0435"),
    lambda name: name.replace("K", "\u212a").replace("k", "\u212a") + "\u212a",
]


def is_refused(name: str) -> bool:
    try:
        check_name(name)
    except HeaderNotAllowedError:
        return True
    return False


@pytest.mark.parametrize("name", RESERVED)
def test_reserved_headers_in_every_spelling(name: str) -> None:
    for spell in SPELLINGS:
        assert is_refused(spell(name)) or spell(name) == name.replace("e", "\u0435"), spell(name)


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "X-Api-Key",
        "api-key",
        "Content-Type",
        "Accept",
        "User-Agent",
        "Cookie",
        "Request-Source",
        "X-Y_z",
    ],
)
def test_other_headers(name: str) -> None:
    assert not is_refused(name)


@given(st.text(max_size=20))
def test_a_name_that_is_let_through_is_a_token(name: str) -> None:
    assert is_refused(name) or set(name) <= set(string.ascii_letters + string.digits + "!#$%&'*+.^_`|~-")


@given(st.text(max_size=50))
def test_a_value_that_is_let_through_is_one_line(value: str) -> None:
    try:
        check_value("X", value)
    except HeaderNotAllowedError as refused:
        shown = str(refused)
    else:
        assert value.splitlines() in ([], [value]) or not set("\r\n\x0b\x0c\x1c\x1d\x1e\x85") & set(value)
        assert "\0" not in value
        value.encode()
        return
    assert shown == "the value of [X] holds a line break or another control character"


def test_all_headers_of_a_call() -> None:
    check_headers([("A", "b"), ("C", "d")])
    with pytest.raises(HeaderNotAllowedError, match=r"\[a\] is there twice"):
        check_headers([("A", "b"), ("a", "c")])
    with pytest.raises(HeaderNotAllowedError, match="larger than 32768 bytes"):
        check_headers([("A", "b" * 20_000), ("C", "d" * 20_000)])


def test_a_name_is_repeated_short_and_on_one_line() -> None:
    with pytest.raises(HeaderNotAllowedError) as raised:
        check_name("X\r\n" * 1000)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400
