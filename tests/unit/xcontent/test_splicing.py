"""Answers are taken apart and put together without changing a byte inside them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.xcontent import source
from rerank_proxy.xcontent.splicing import Printer, elements, members, names, parts

NUMBERS = b'{"int":123456789012345678901234567890,"big":1e400,"zero":-0,"price":1.10,"exp":1E5,"slash":"\\/"}'
DEEP = b'{"o":' + b'{"a":' * 1200 + b"1" + b"}" * 1200 + b',"t":[1]}'

texts = st.text(st.characters(exclude_categories=()), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts | st.just(float("1e-7")),
    lambda inner: st.lists(inner, max_size=10) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=25,
)


def by_source(raw: bytes) -> dict[str, bytes]:
    return {name: node.raw for name, node in source.parse(raw, strict=False).members.items()}


@given(st.dictionaries(texts, values, max_size=6), st.sampled_from([None, 2]))
def test_both_ways_of_splitting_an_object_agree(value: dict[str, Any], indent: int | None) -> None:
    """Names and values include unpaired surrogates, which the fast path refuses."""
    raw = json.dumps(value, indent=indent).encode()
    assert members(raw) == by_source(raw)
    assert {name: json.loads(part) for name, part in members(raw).items()} == value
    assert names(raw) == [*value]


@given(st.lists(values, max_size=12), st.sampled_from([None, 2]))
def test_both_ways_of_splitting_an_array_agree(value: list[Any], indent: int | None) -> None:
    raw = json.dumps(value, indent=indent).encode()
    assert elements(raw) == source.parse_array(raw)
    assert [json.loads(part) for part in elements(raw)] == value
    assert [*map(bytes, parts(memoryview(raw)))] == elements(raw)


@given(st.dictionaries(texts, values, max_size=6), st.booleans())
def test_what_is_taken_apart_goes_together_again(value: dict[str, Any], pretty: bool) -> None:
    printer = Printer(pretty)
    raw = printer.object({name: json.dumps(item).encode() for name, item in value.items()}, 0)
    assert printer.object(members(raw), 0) == raw
    assert json.loads(raw.decode("utf-8", "surrogatepass")) == value


def test_numbers_and_escapes_keep_their_spelling() -> None:
    assert Printer(False).object(members(NUMBERS), 0) == NUMBERS


def test_surrogates_and_depth_go_the_slow_way() -> None:
    lone = b'{"text":"\\ud800","n":1.10}'
    assert members(lone) == {"text": b'"\\ud800"', "n": b"1.10"}
    assert Printer(False).object(members(DEEP), 0) == DEEP
    assert elements(b"[" + DEEP + b", 1.10]") == [DEEP, b"1.10"]


@pytest.mark.parametrize(
    "raw",
    [
        b'{"\\ud83d":"\\ud83d","\\ud83d\\ude00":"\\ud83d\\ude00\\\\ud800\\\\\\ud800"}',
        '{"\ufdd0":"\ufdd0d800","a":"\\ud800"}'.encode(),
        b'{"a":"\\uDBFF","\\\\ud800":"\\\\ud800"}',
    ],
)
def test_unpaired_surrogates_beside_what_looks_like_them(raw: bytes) -> None:
    assert members(raw) == by_source(raw)
    assert names(raw) == [*json.loads(raw)]
    assert elements(b"[" + raw + b"]") == [raw]


def test_half_an_escape_is_refused() -> None:
    for raw in (b'{"a":"\\ud8zz","b":"\\ud800"}', b'{"a":"\\ud800\\ud8"}'):
        with pytest.raises(ElasticsearchError):
            members(raw)
        assert elements(b"[" + raw + b"]") == [raw]  # passed on as it came


def test_duplicate_keys_inside_a_value_stay() -> None:
    assert members(b'{"_source":{"a":1,"a":2}}')["_source"] == b'{"a":1,"a":2}'
    assert by_source(b'{"_source":{"a":1,"a":2}}')["_source"] == b'{"a":1,"a":2}'


def test_pretty_is_elasticsearchs_layout() -> None:
    printer = Printer.like(b'{\n  "took" : 1\n}')
    text = printer.value({"a": [1, {"b": None}], "c": {}, "d": [], "e": "é"}) + printer.end()
    assert text.decode() == (
        """\
{
  "a" : [
    1,
    {
      "b" : null
    }
  ],
  "c" : { },
  "d" : [ ],
  "e" : "é"
}
"""
    )


def test_compact_has_no_blanks() -> None:
    printer = Printer.like(b'{"took":1}')
    assert printer.value({"a": [1, {"b": None}], "c": {}, "d": []}) == b'{"a":[1,{"b":null}],"c":{},"d":[]}'
    assert printer.end() == b""


def test_errors_with_unpaired_surrogates_can_be_printed() -> None:
    json.loads(Printer(False).value({"reason": "no such \ud800 field"}))


@pytest.mark.parametrize("raw", [b"", b"<html>", b'{"a":'])
def test_text_that_is_not_json_is_refused(raw: bytes) -> None:
    with pytest.raises(Exception, match="Unexpected"):
        members(raw)


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        ("é", '"é"'),
        ("\U0001f511", r'"\uD83D\uDD11"'),
        ("\ud800", r'"\uD800"'),
        ('"\n', r'"\"\n"'),
        (None, "null"),
    ],
)
def test_scalars_are_spelt_as_jackson_spells_them(value: object, printed: str) -> None:
    assert Printer(pretty=False).value(value) == printed.encode()
    if isinstance(value, str):
        assert Printer(pretty=False).object({value: b"1"}, 0) == f"{{{printed}:1}}".encode()
