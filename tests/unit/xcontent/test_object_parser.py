"""Keys, types, coercions and messages are those of Elasticsearch's ``ObjectParser``."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.xcontent.faults import ParseError
from rerank_proxy.xcontent.object_parser import (
    BOOL,
    FLOAT,
    INT,
    INT_MAX,
    INT_MIN,
    RAW_OBJECT,
    STR,
    STRS,
    Check,
    Field,
    did_you_mean,
    edit_distance,
    java_float,
    objects,
    parse_named,
    parse_object,
    to_raw,
)
from rerank_proxy.xcontent.source import parse

FIELDS = {
    "number": INT,
    "factor": FLOAT,
    "flag": BOOL,
    "name": STR,
    "query": RAW_OBJECT,
    "filter": objects(to_raw),
    "ids": STRS,
    "later": replace(STR, argument=False),
}


def read(text: str | bytes) -> dict[str, Any]:
    return parse_object(parse(text.encode() if isinstance(text, str) else text), "thing", FIELDS)


def refusal(text: str, fields: Mapping[str, Field] = FIELDS, check: Check | None = None) -> ParseError:
    with pytest.raises(ParseError) as raised:
        parse_object(parse(text.encode()), "thing", fields, check)
    assert raised.value.status == 400
    return raised.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10", 10),
        ('"10"', 10),
        ("1.5", 1),
        ("-1.9", -1),
        ('" 7 "', 7),
        ('"1e2"', 100),
        ('"1.9"', 1),
        ("1e3", 1000),
        (str(INT_MAX), INT_MAX),
        (str(INT_MIN), INT_MIN),
        ('"NaN"', 0),
    ],
)
def test_ints_are_coerced(text: str, value: int) -> None:
    assert read(f'{{"number": {text}}}') == {"number": value}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", 0.10000000149011612),  # the nearest float32
        ('"0.5"', 0.5),
        ('"1f"', 1.0),
        ('"-2.5d"', -2.5),
        ('".5"', 0.5),
        ("1e39", float("inf")),
        ("-1e39", float("-inf")),
        ("1e-60", 0.0),
        ('"Infinity"', float("inf")),
        ("1" + "0" * 900, float("inf")),
    ],
)
def test_floats_are_float32(text: str, value: float) -> None:
    assert read(f'{{"factor": {text}}}') == {"factor": value}


@pytest.mark.parametrize(("text", "value"), [("true", True), ('"false"', False), ('"true"', True)])
def test_booleans(text: str, value: bool) -> None:
    assert read(f'{{"flag": {text}}}') == {"flag": value}


def test_queries_stay_bytes() -> None:
    body = '{"query": { "a" : 1.10 }, "filter": [{"b":1E5} , {} ]}'
    assert read(body) == {"query": b'{ "a" : 1.10 }', "filter": (b'{"b":1E5}', b"{}")}
    assert read('{"filter": {"b": 1}}') == {"filter": (b'{"b": 1}',)}
    assert read('{"filter": []}') == {"filter": ()}


def test_a_long_array_of_scalars_is_not_taken_for_an_empty_one() -> None:
    assert len(read('{"filter": [1,2,3,4,5,6,7,8,9,10,11,12]}')["filter"]) == 12


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"number": true}', "[1:12] [thing] number doesn't support values of type: VALUE_BOOLEAN"),
        ('{"number": null}', "[1:12] [thing] number doesn't support values of type: VALUE_NULL"),
        ('{"number": []}', "[1:12] [thing] number doesn't support values of type: START_ARRAY"),
        ('{"name": 1}', "[1:10] [thing] name doesn't support values of type: VALUE_NUMBER"),
        ('{\n "name": true}', "[2:10] [thing] name doesn't support values of type: VALUE_BOOLEAN"),
        ('{"filter": "x"}', "[1:12] [thing] filter doesn't support values of type: VALUE_STRING"),
        ('{"filter": null}', "[1:12] [thing] filter doesn't support values of type: VALUE_NULL"),
        ('{"query": []}', "[1:11] [thing] query doesn't support values of type: START_ARRAY"),
        ('{"foo": 1}', "[1:2] [thing] unknown field [foo]"),
        ('{"name": "x",\n  "nme": 1}', "[2:3] [thing] unknown field [nme] did you mean [name]?"),
        ('{"number": "abc"}', "[1:12] [thing] failed to parse field [number]"),
        ("[1]", "[1:1] [thing] Expected START_OBJECT but was: START_ARRAY"),
        ('{"filter": [[]]}', "[1:13] [thing] failed to parse field [filter]"),
        ('{"ids": 1}', "[1:9] [thing] ids doesn't support values of type: VALUE_NUMBER"),
        ('{"ids": ["a", {}]}', "[1:15] [thing] failed to parse field [ids]"),
    ],
)
def test_refusals_name_key_and_place(body: str, reason: str) -> None:
    """Elasticsearch 9.5.0 words the same mistakes in a `standard` retriever so."""
    cause = refusal(body).cause
    assert (cause.type, cause.reason) == ("x_content_parse_exception", reason)


@pytest.mark.parametrize(
    ("text", "type_", "reason"),
    [
        ('"abc"', "number_format_exception", 'For input string: "abc"'),
        ('""', "number_format_exception", "empty String"),
        ('"0x10"', "number_format_exception", 'For input string: "0x10"'),
        ('"1e99"', "illegal_argument_exception", "Value [1e99] is out of range for an integer"),
    ],
)
def test_strings_that_are_not_an_int(text: str, type_: str, reason: str) -> None:
    inner = refusal(f'{{"number": {text}}}').cause.caused_by
    assert inner is not None
    assert (inner.type, inner.reason) == (type_, reason)


@pytest.mark.parametrize("text", ["99999999999", "-2147483649", "1e99", "1e999", "9" * 900])
def test_numbers_that_are_not_an_int(text: str) -> None:
    inner = refusal(f'{{"number": {text}}}').cause.caused_by
    assert inner is not None
    column = 12 + len(text)
    assert inner.type == "x_content_parse_exception"
    assert inner.reason.startswith(
        f"[1:{column}] Numeric value ({text}) out of range of int (-2147483648 - 2147483647)\n at [Source: "
    )
    assert inner.caused_by is not None
    assert inner.caused_by.type == "input_coercion_exception"


def test_bad_booleans() -> None:
    inner = refusal('{"flag": "yes"}').cause.caused_by
    assert inner is not None
    assert inner.reason == "Failed to parse value [yes] as only [true] or [false] are allowed."


def test_missing_keys_are_listed_in_declaration_order() -> None:
    fields = {
        "b": Field(STR.kinds, STR.convert, required=True),
        "a": Field(STR.kinds, STR.convert, required=True),
        "c": STR,
    }
    assert refusal("{}", fields).cause.reason == "Required [b, a]"
    assert refusal('{"b":"x"}', fields).cause.reason == "Required [a]"
    assert refusal("{}", fields).cause.type == "illegal_argument_exception"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("rank_window", " did you mean [rank_window_size]?"),
        ("felds", " did you mean any of [fields, field]?"),
        ("fielt", " did you mean any of [field, fields]?"),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_did_you_mean(name: str, hint: str) -> None:
    assert did_you_mean(name, dict.fromkeys(["rank_window_size", "fields", "field"])) == hint


@given(st.text("abc", max_size=7), st.text("abc", max_size=7))
def test_edit_distance_is_a_distance(left: str, right: str) -> None:
    distance = edit_distance(left, right)
    assert distance == edit_distance(right, left)
    assert (distance == 0) == (left == right)
    assert abs(len(left) - len(right)) <= distance <= max(len(left), len(right))


@given(st.dictionaries(st.sampled_from([*FIELDS, "foo"]), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)))  # fmt: skip
def test_any_object_is_read_or_refused(value: dict[str, Any]) -> None:
    body = json.dumps(value).replace("Infinity", "1e999").encode()
    try:
        known = parse_object(parse(body), "thing", FIELDS)
    except ParseError as failure:
        assert failure.status == 400  # noqa: PT017  # either outcome is right, no other is
    else:
        assert set(known) == set(value) <= set(FIELDS)


def test_an_error_says_how_far_the_parser_came() -> None:
    assert refusal('{"foo":   1}').offset == 10  # the message names the place of the key
    assert refusal('{"number": true}').offset == 11
    assert refusal('{"name": "x"  }', {"a": replace(STR, required=True), **FIELDS}).offset == 14


def test_lists_of_strings() -> None:
    assert read('{"ids": "a"}') == {"ids": ("a",)}
    assert read('{"ids": ["a", 1.50, true]}') == {"ids": ("a", "1.50", "true")}


@given(st.lists(st.text(max_size=3) | st.integers(), max_size=20))
def test_items_of_any_array_have_their_places(values: list[Any]) -> None:
    text = json.dumps(values)
    assert [json.loads(item.raw) for item in parse(text.encode()).items] == values


BUILD = "Failed to build [thing] after last required field arrived"


def test_a_constructor_is_called_when_its_last_argument_is_there() -> None:
    fields = {name: FIELDS[name] for name in ("number", "ids", "later")}
    at_the_end = refusal('{"number": 1, "later": "x"}', fields, lambda values: str(values["number"]))
    assert (at_the_end.cause.reason, at_the_end.offset) == (BUILD, 26)
    inside = refusal('{"number": 1, "ids": ["a"], "later": 1}', fields, lambda values: "no")
    assert inside.cause.reason == "[1:26] [thing] failed to parse field [ids]"
    assert inside.cause.caused_by is not None
    assert inside.cause.caused_by.reason == BUILD
    missing = refusal("{}", {"name": replace(STR, required=True)}, lambda values: "no")
    assert missing.cause.reason == "Required [name]"


def test_a_constructor_is_called_once() -> None:
    calls: list[Mapping[str, Any]] = []
    fields = {"name": STR, "later": FIELDS["later"]}
    body = parse(b'{"name": "a", "later": "b"}')
    parse_object(body, "thing", fields, lambda values: calls.append(dict(values)))
    assert calls == [{"name": "a"}]


def test_named_objects() -> None:
    found = parse_named(parse(b'{"a": 1}'), "thing", lambda node, name: (name, node.members[name].raw))
    assert found == ("a", b"1")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.0"),
        (-0.5, "-0.5"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (float("nan"), "NaN"),
    ],
)
def test_floats_as_java_prints_them(value: float, text: str) -> None:
    assert java_float(value) == text
