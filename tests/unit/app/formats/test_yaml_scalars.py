"""Scalars of a YAML body mean what Elasticsearch 9.5.0 was seen to make of them."""

import json

import pytest

from rerank_proxy.app.formats.yaml_scalars import needs_quotes, scalar_to_json
from rerank_proxy.errors import ElasticsearchError

TAG = "tag:yaml.org,2002:"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yes", True), ("no", False), ("true", True), ("True", True), ("TRUE", True), ("tRue", "tRue"),
        ("on", True), ("off", False), ("y", "y"), ("n", "n"),
        ("~", None), ("null", None), ("Null", None), ("NULL", None), ("", None), ("nULL", "nULL"),
        ("1", 1), ("-1", -1), ("+1", 1), ("0", 0), ("-0", 0), ("00", 0), ("1_000", 1000), ("1__0", 10),
        ("_1", "_1"),
        ("012", 10), ("-012", -10), ("+012", 10), ("0777", 511), ("0_7", 7), ("0o14", "0o14"), ("08", "08"),
        ("0x1F", 31), ("-0x1F", -31), ("+0x1F", 31), ("0X1f", "0X1f"), ("0x", "0x"),
        ("0xFFFFFFFFFFFFFFFFF", 2**68 - 1),
        ("0b101", 5), ("-0b11", -3), ("0b2", "0b2"), ("1:30", "1:30"), ("190:20:30", "190:20:30"),
        ("1.5", 1.5), ("-1.5", -1.5), ("+1.5", 1.5), ("1.", 1.0), (".5", 0.5), ("-.5", -0.5), ("09.5", 9.5),
        ("1e3", 1000.0), ("1E5", 100000.0), ("1.0e+3", 1000.0), ("1.5E-3", 0.0015), ("12e03", 12000.0),
        ("1_0.5", 10.5), ("685_230.15", 685230.15), ("99999999999999999999.5", 1e20), (".", "."),
        ("e3", "e3"),
        ("9223372036854775808", 2**63), ("123456789012345678901234567890", 123456789012345678901234567890),
        ("2020-01-01", "2020-01-01"), ("1.5:30.5", "1.5:30.5"), ("<<", "<<"), ("=", "="),
        ("1.2.3", "1.2.3"),
    ],
)  # fmt: skip
def test_plain(text: str, expected: object) -> None:
    found = json.loads(scalar_to_json(text, None, plain=True))
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    "text", ["0.1000000000000000055511151231257827", "1.10", "1E5", "1.0e400", "-1.5e-7"]
)
def test_numbers_that_are_jsons_keep_their_spelling(text: str) -> None:
    assert scalar_to_json(text, None, plain=True) == text


@pytest.mark.parametrize("text", [".inf", "-.Inf", "+.INF", ".nan", ".NaN", "190:20:30.15"])
def test_what_jackson_cannot_read(text: str) -> None:
    with pytest.raises(ElasticsearchError, match="Malformed numeric value") as raised:
        scalar_to_json(text, None, plain=True)
    assert raised.value.status == 400
    assert scalar_to_json(text, None, plain=False) == f'"{text}"'


@pytest.mark.parametrize("text", ["12", "true", "null", "", "1.5", 'say "é"\n', "\U0001f600"])
def test_quoted_text_is_text(text: str) -> None:
    assert json.loads(scalar_to_json(text, None, plain=False)) == text


@pytest.mark.parametrize(
    ("tag", "text", "plain", "expected"),
    [
        (TAG + "str", "12", True, "12"),
        (TAG + "int", "12", False, 12),
        (TAG + "int", "abc", True, "abc"),
        (TAG + "float", "1.5", False, 1.5),
        (TAG + "bool", "yes", True, True),
        (TAG + "bool", "12", True, "12"),
        (TAG + "null", "x", True, None),
        (TAG + "binary", "SGk=", True, "SGk="),
        (TAG + "timestamp", "2020-01-01", True, "2020-01-01"),
        ("!foo", "12", True, "12"),
        ("!", "12", True, 12),
    ],
)
def test_tags(tag: str, text: str, plain: bool, expected: object) -> None:
    assert json.loads(scalar_to_json(text, tag, plain=plain)) == expected


@pytest.mark.parametrize("text", ["9" * 5000, "1." + "9" * 5000, "0x" + "f" * 5000])
def test_endless_numbers_are_text(text: str) -> None:
    assert scalar_to_json(text, None, plain=True) == f'"{text}"'


@pytest.mark.parametrize(
    "name", ["", "yes", "n", "Y", "Off", "null", "~", "~x", "12", "1a", "-a", "+", ".a", "a\nb"]
)
def test_names_in_quotes(name: str) -> None:
    assert needs_quotes(name)


@pytest.mark.parametrize("name", ["took", "_id", "a b", "nope", "n1", "tRue", "NaN", "=", "<<", "é", "a: b"])
def test_names_without_quotes_of_their_own(name: str) -> None:
    assert not needs_quotes(name)
