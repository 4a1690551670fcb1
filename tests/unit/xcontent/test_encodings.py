"""JSON is UTF-8, UTF-16 or UTF-32, judged by its first bytes. The examples are from Elasticsearch 9.5.0."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.xcontent.encodings import to_utf8
from rerank_proxy.xcontent.faults import ParseError

ENCODINGS = ("utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")
JSON = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner), max_leaves=8
)


@given(st.dictionaries(st.text(), JSON), st.sampled_from(ENCODINGS), st.booleans(), st.sampled_from(" \n\t"))
def test_every_encoding(value: object, encoding: str, ascii_only: bool, before: str) -> None:
    text = before + json.dumps(value, ensure_ascii=ascii_only)
    assert to_utf8(text.encode(encoding)) == text.encode()


@pytest.mark.parametrize("mark", [b"\xfe\xff", b"\0\0\xfe\xff"])
def test_marks_of_the_other_order(mark: bytes) -> None:
    assert to_utf8(mark + "{}".encode("utf-16-be" if len(mark) == 2 else "utf-32-be")) == b"{}"


@given(st.binary(max_size=12))
def test_any_bytes(body: bytes) -> None:
    try:
        to_utf8(body)
    except ParseError as refused:
        assert refused.status == 400  # noqa: PT017  # most bytes are of some encoding


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"{}", b'{"a":1}', b"\xef\xbb\xbf{}", b"\xff\xfe\xff", b"12\0\0", b'{"a":"\0"}', b"\xff\xfe"],
)
def test_all_else_is_left_as_it_is(body: bytes) -> None:
    if body[:2] == b"\xff\xfe":  # a mark with nothing behind it is none
        body = body[:3]
    assert to_utf8(body) == body


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{\0}", "{\ufffd"),
        (b"\0{\0", "{\ufffd"),
        ('"\ud800"'.encode("utf-16-le", "surrogatepass"), '"\ufffd'),
        ('"\ud800"'.encode("utf-16-be", "surrogatepass"), '"\ufffd'),
        ('"\udc00"'.encode("utf-16-le", "surrogatepass"), '"\ufffd"'),
        ('"\udc00"'.encode("utf-16-be", "surrogatepass"), '"\ufffd"'),
        ('"\ud800'.encode("utf-16-be", "surrogatepass"), '"\ufffd'),
        ('"\ud800"'.encode("utf-32-le", "surrogatepass"), '"\ufffd"'),
    ],
)
def test_invalid_characters_are_replaced(body: bytes, text: str) -> None:
    assert to_utf8(body).decode() == text


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\0\0\xff\xfe\0\0{\0", "Unsupported UCS-4 endianness (2143) detected"),
        (b"\xfe\xff\0\0\0{\0\0", "Unsupported UCS-4 endianness (3412) detected"),
        (b"\0\0{\0\0\0}\0", "Unsupported UCS-4 endianness (2143) detected"),
        (b"\0{\0\0\0}\0\0", "Unsupported UCS-4 endianness (3412) detected"),
        (
            "{}".encode("utf-32-le") + b"\0",
            "Unexpected EOF in the middle of a 4-byte UTF-32 char: got 1, needed 4, at char #2, byte #1)",
        ),
        (
            "{}".encode("utf-32-be") + b" \0\0",
            "Unexpected EOF in the middle of a 4-byte UTF-32 char: got 3, needed 4, at char #2, byte #3)",
        ),
        (
            "{".encode("utf-32-le") + b"c\0\x20\0",
            "Invalid UTF-32 character 0x1f0063 (above 0x0010ffff) at char #1, byte #7)",
        ),
        (
            "{".encode("utf-32-be") + b"\0\x20\0c",
            "Invalid UTF-32 character 0x1f0063 (above 0x0010ffff) at char #1, byte #7)",
        ),
    ],
)
def test_what_cannot_be_read(body: bytes, reason: str) -> None:
    with pytest.raises(ParseError) as refused:
        to_utf8(body)
    cause = refused.value.cause
    assert (cause.type, cause.reason) == ("x_content_parse_exception", reason)
    assert cause.caused_by is not None
    assert (cause.caused_by.type, cause.caused_by.reason) == ("char_conversion_exception", reason)
