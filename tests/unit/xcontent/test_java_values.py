"""The names and spellings of values in Java. A JDK 25 has printed the examples."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.xcontent.java_values import (
    class_name,
    copied_hash_map_order,
    hash_map_order,
    print_java,
    read,
    well_formed,
)
from rerank_proxy.xcontent.source import parse


@pytest.mark.parametrize(
    ("value", "spelling", "class_"),
    [
        (1, "1", "java.lang.Integer"),
        (-(2**31), "-2147483648", "java.lang.Integer"),
        (2**31, "2147483648", "java.lang.Long"),
        (2**63, "9223372036854775808", "java.math.BigInteger"),
        (True, "true", "java.lang.Boolean"),
        (False, "false", "java.lang.Boolean"),
        ("x", "x", "java.lang.String"),
        ([1, None, "a"], "[1, null, a]", "java.util.ArrayList"),
        ({"abc": 2, "b": [1.0, {"c": None}]}, "{b=[1.0, {c=null}], abc=2}", "java.util.HashMap"),
        (0.0, "0.0", "java.lang.Double"),
        (-0.0, "-0.0", "java.lang.Double"),
        (1.5, "1.5", "java.lang.Double"),
        (9999999.0, "9999999.0", "java.lang.Double"),
        (1e7, "1.0E7", "java.lang.Double"),
        (2147483647.0, "2.147483647E9", "java.lang.Double"),
        (123456789.125, "1.23456789125E8", "java.lang.Double"),
        (0.001, "0.001", "java.lang.Double"),
        (1e-5, "1.0E-5", "java.lang.Double"),
        (-2.5e-4, "-2.5E-4", "java.lang.Double"),
        (float("inf"), "Infinity", "java.lang.Double"),
        (float("-inf"), "-Infinity", "java.lang.Double"),
    ],
)
def test_spelling_and_class(value: Any, spelling: str, class_: str) -> None:
    assert print_java(value) == spelling
    assert class_name(value) == class_


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("strategy max_chunk_size foo bar baz overlap separators", "bar overlap foo baz separators"),
        ("k2 max_chunk_size zz separators strategy", "zz separators k2"),
        ("longer_key_name foo zz k4 bar strategy", "longer_key_name zz k4 bar foo"),
        ("strategy max_chunk_size", ""),
    ],
)
def test_order_of_a_copied_map(keys: str, expected: str) -> None:
    order = copied_hash_map_order(dict.fromkeys(keys.split()))
    assert [key for key in order if key not in ("strategy", "max_chunk_size")] == expected.split()


def test_a_copy_may_have_another_order() -> None:
    settings = dict.fromkeys(["k2", "zz", "separators", "strategy", "max_chunk_size"])
    assert hash_map_order(settings) != copied_hash_map_order(settings)


@pytest.mark.parametrize(
    "body", ['{"a": [1, "x", null, {"b": 1.5}], "c": {}}', "[1,2,3,4,5,6,7,8,9,10]", '"\\ud800"', "true"]
)
def test_values_are_read(body: str) -> None:
    assert read(parse(body.encode())) == json.loads(body)


def test_comments_are_not_values() -> None:
    assert read(parse(b'{"a": /* one */ 1} // end')) == {"a": 1}


def test_what_is_nested_too_deep_is_left_out() -> None:
    assert "..." in print_java(read(parse(b"[" * 900 + b"]" * 900)))


@given(st.text(st.characters(exclude_categories=())))
def test_well_formed_text_can_be_encoded(text: str) -> None:
    made = well_formed(text)
    made.encode()
    if "\ufffd" not in made:
        assert made == text
