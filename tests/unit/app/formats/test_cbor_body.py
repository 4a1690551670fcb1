"""CBOR is read and written as Elasticsearch 9.5.0 was seen to do it."""

import json
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.app.formats.cbor_body import read, write
from rerank_proxy.errors import ElasticsearchError


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("01", "1"), ("20", "-1"), ("1bffffffffffffffff", "18446744073709551615"),
        ("c249010000000000000000", "18446744073709551616"), ("c482211907d2", "20.02"),
        ("c5820103", "[1,3]"),
        ("f93c00", "1.0"), ("fb3fb999999999999a", "0.1"), ("f97e00", '"NaN"'), ("f97c00", '"Infinity"'),
        ("f9fc00", '"-Infinity"'), ("f4", "false"), ("f5", "true"), ("f6", "null"), ("f7", "null"),
        ("f0", "16"), ("f8ff", "255"),
        ("4161", '"YQ=="'), ("5f41614162ff", '"YWI="'), ("626162", '"ab"'), ("7f61616162ff", '"ab"'),
        ("62c3a9", '"é"'),
        ("c074323031332d30332d32315432303a30343a30305a", '"2013-03-21T20:04:00Z"'),
        ("c11a514b67b0", "1363896240"),
        ("d81c01", "1"), ("d81d00", "0"), ("d9d9f701", "1"), ("d8406161", '"a"'),
        ("8101", "[1]"), ("9f01ff", "[1]"), ("a1616101", '{"a":1}'), ("bf616101ff", '{"a":1}'),
        ("80", "[]"), ("a0", "{}"),
        ("a10102", '{"1":2}'), ("a12002", '{"-1":2}'), ("a1416101", '{"a":1}'),
    ],
)  # fmt: skip
def test_reading(value: str, expected: str) -> None:
    assert read(b"\xa1\x61v" + bytes.fromhex(value)).decode() == f'{{"v":{expected}}}'


@pytest.mark.parametrize(
    "value",
    ["a1f501", "a1fb3fb999999999999a01", "a182010101", "a2616101616102", "61ff", "1c", "ff", "5f6161ff",
     "7f4161ff", "d9010083616161" + "62" + "d81900", "81" * 1000 + "01"],
)  # fmt: skip
def test_malformed(value: str) -> None:
    with pytest.raises(ElasticsearchError) as raised:
        read(b"\xa1\x61v" + bytes.fromhex(value))
    answer = raised.value.body()
    assert answer["status"] == 400
    assert answer["error"]["type"] in ("x_content_parse_exception", "parsing_exception")


@pytest.mark.parametrize(
    "body", [b"\xa1\x61v", b"\xa2\x61a\x01", b"\xbf\x61a\x01", b"\xa1\x61v\x5b\x7f" + b"\xff" * 7]
)
def test_cut_off(body: bytes) -> None:
    with pytest.raises(ElasticsearchError) as raised:
        read(body)
    error = raised.value.body()["error"]
    assert error["type"] == "x_content_e_o_f_exception"
    assert error["root_cause"][0]["type"] == "x_content_e_o_f_exception"
    assert error["caused_by"]["type"] == "json_e_o_f_exception"


def test_more_than_one_value_is_refused() -> None:
    with pytest.raises(ElasticsearchError, match="found after the main object"):
        read(b"\xa0\xa0")


def test_layout_and_types() -> None:
    answer = b'{"took":3,"ok":true,"hits":{"max_score":null,"hits":[{"_id":"a","_score":0.1,"sort":[0.1]}]}}'
    assert write(answer).hex(" ") == (
        "bf 64 74 6f 6f 6b 03 62 6f 6b f5 64 68 69 74 73 bf 69 6d 61 78 5f 73 63 6f 72 65 f6"
        " 64 68 69 74 73 9f bf 63 5f 69 64 61 61 66 5f 73 63 6f 72 65 fa 3d cc cc cd"
        " 64 73 6f 72 74 9f fb 3f b9 99 99 99 99 99 9a ff ff ff ff ff"
    )


def test_scores_are_float32_but_for_what_users_call_so() -> None:
    hit = {"_score": 0.1, "_source": {"_score": 0.1}, "inner_hits": {"x": {"hits": {"max_score": 0.1}}}}
    found = cbor2.loads(write(json.dumps({"responses": [{"hits": {"hits": [hit]}}]}).encode()))
    single = 0.10000000149011612
    assert found["responses"][0]["hits"]["hits"] == [
        {"_score": single, "_source": {"_score": 0.1}, "inner_hits": {"x": {"hits": {"max_score": single}}}}
    ]


def test_numbers() -> None:
    numbers = b'{"v":[1.10,1E5,-0,-0.0,1e400,123456789012345678901234567890,18446744073709551615]}'
    expected = [1.1, 100000.0, 0, -0.0, float("inf"), 123456789012345678901234567890, 18446744073709551615]
    assert repr(cbor2.loads(write(numbers))["v"]) == repr(expected)


def test_unpaired_surrogates_do_not_fail_an_answer() -> None:
    assert cbor2.loads(write(rb'{"a":"x\ud800y","b\udc00":1,"_score":0.5}')) == {
        "a": "x?y",
        "b?": 1,
        "_score": 0.5,
    }


texts = st.text(st.characters(codec="utf-8"), max_size=30)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(texts, values, max_size=4))
def test_what_is_written_can_be_read(value: dict[str, Any]) -> None:
    assert json.loads(read(write(json.dumps(value).encode()))) == value
