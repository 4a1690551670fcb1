"""The text of a hit: the first value of a field, as Java prints it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.search.inner.fields import text_of


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (b'{"f":["a text"]}', "a text"),
        (b'{"f":["first","second"]}', "first"),
        (b'{"f":[""]}', ""),
        (b'{"f":[12]}', "12"),
        (b'{"f":[5.0]}', "5.0"),
        (b'{"f":[1.0E10]}', "1.0E10"),
        (b'{"f":[123456789012345678901234567890]}', "123456789012345678901234567890"),
        (b'{"f":[true]}', "true"),
        (b'{"f":[{"coordinates":[1.5,2.5],"type":"Point"}]}', "{coordinates=[1.5, 2.5], type=Point}"),
        (b'{"f":[{"a":[null,false,{"b":"x"}]}]}', "{a=[null, false, {b=x}]}"),
        (b'{"f":["\\u00e9\\n\\ud83d\\ude00"]}', "é\n😀"),
        (b'{"f":["a\\ud800b"]}', "a\ufffdb"),
        (b'{"f":[]}', None),
        (b'{"f":[null]}', None),
        (b'{"other":["x"]}', None),
        (b'{"f.kw":["x"]}', None),
        (b"{}", None),
        (None, None),
    ],
)
def test_first_value(fields: bytes | None, text: str | None) -> None:
    assert text_of(fields, "f") == text


def test_a_field_is_meant_literally() -> None:
    assert text_of(b'{"title":["x"]}', "t*") is None
    assert text_of(b'{"a.b":["x"]}', "a.b") == "x"


@given(st.text(), st.lists(st.none() | st.integers() | st.text(), max_size=12))
def test_any_string_comes_through(text: str, more: list[Any]) -> None:
    assert text_of(json.dumps({"f": [text, *more]}).encode(), "f") == text
