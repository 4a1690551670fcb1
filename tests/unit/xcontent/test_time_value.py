"""Times as Elasticsearch 9.5.0 reads and prints each of these."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.xcontent.params import parse_params
from rerank_proxy.xcontent.time_value import TimeValue, time_param


def read(text: str) -> TimeValue | None:
    return time_param(parse_params(f"keep_alive={text}"), "keep_alive")


def test_absent() -> None:
    assert time_param(parse_params("x=1d"), "keep_alive") is None


@pytest.mark.parametrize(
    ("text", "millis"),
    [
        ("5d", 432_000_000),
        ("2h", 7_200_000),
        ("1m", 60_000),
        ("30s", 30_000),
        ("500ms", 500),
        ("1500micros", 1),
        ("999999nanos", 0),
        ("+1S", 1000),
        (" 1 s ", 1000),
        ("1MS", 1),
        ("0", 0),
        ("000", 0),
        ("-1", -1),
        ("-01", -1),
        ("-1s", -1),
        ("106751d", 106_751 * 86_400_000),
        ("200000d", (2**63 - 1) // 10**6),
    ],
)
def test_millis(text: str, millis: int) -> None:
    value = read(text.replace("+", "%2B"))
    assert value is not None
    assert value.millis == millis


@pytest.mark.parametrize("text", ["12", "", "abcx", "1M", "1q", "-2"])
def test_without_a_unit(text: str) -> None:
    with pytest.raises(ElasticsearchError) as raised:
        read(text)
    assert raised.value.status == 400
    assert raised.value.cause.type == "illegal_argument_exception"
    assert raised.value.cause.reason == (
        f"failed to parse setting [keep_alive] with value [{text}] as a time value: "
        "unit is missing or unrecognized"
    )


def test_negative() -> None:
    with pytest.raises(ElasticsearchError) as raised:
        read("-5s")
    assert raised.value.cause.reason == (
        "failed to parse setting [keep_alive] with value [-5s] as a time value: "
        "negative durations are not supported"
    )


@pytest.mark.parametrize(
    ("text", "fractional", "number"),
    [
        ("1.5d", True, "1.5"),
        ("xd", False, "x"),
        ("99999999999999999999s", True, "99999999999999999999"),
        ("s", False, ""),
        ("1e3s", True, "1e3"),
    ],
)
def test_no_whole_number(text: str, fractional: bool, number: str) -> None:
    with pytest.raises(ElasticsearchError) as raised:
        read(text)
    end = ", fractional time values are not supported" if fractional else ""
    assert raised.value.cause.reason == f"failed to parse [{text}]{end}"
    assert raised.value.cause.caused_by is not None
    assert raised.value.cause.caused_by.type == "number_format_exception"
    assert raised.value.cause.caused_by.reason == f'For input string: "{number}"'


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("0s", "0s"),
        ("-1s", "-1"),
        ("999ms", "999ms"),
        ("1500micros", "1.5ms"),
        ("1500nanos", "1.5micros"),
        ("7nanos", "7nanos"),
        ("90s", "1.5m"),
        ("119m", "1.9h"),
        ("60s", "1m"),
        ("200000d", "106751.9d"),
    ],
)
def test_printed(text: str, printed: str) -> None:
    assert str(read(text)) == printed


@given(st.integers(0, 106_751), st.sampled_from(["nanos", "micros", "ms", "s", "m", "h", "d"]))
def test_printing_loses_less_than_a_tenth(count: int, unit: str) -> None:
    value = read(f"{count}{unit}")
    assert value is not None
    if "." not in str(value):
        again = read(str(value))
        assert again is not None
        assert value.nanos - value.nanos // 10 <= again.nanos <= value.nanos
