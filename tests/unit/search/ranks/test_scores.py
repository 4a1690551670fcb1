"""Scores are float32, normalised as native does, and print as Java prints them."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rerank_proxy.search.ranks.scores import normalize, reciprocal_ranks
from rerank_proxy.xcontent.java_numbers import print_float

float32s = st.floats(allow_nan=False, allow_infinity=False, width=32)


@pytest.mark.parametrize(
    ("raw", "score"),
    [
        (0.0, b"1.0"),
        (-0.0, b"1.0"),
        (3.5, b"4.5"),
        (0.93, b"1.9300001"),  # float32(0.93) + 1 lies between 1.93 and 1.9300001
        (-2.0135, b"0.13352054"),
        (-11.2, b"1.3674198E-5"),
        (-103.9, b"1.4E-45"),
        (-104.0, b"0.0"),
        (-1000.0, b"0.0"),
        (6.250533, b"7.250533"),
        (0.9911615761470803, b"1.9911616"),
        (1e30, b"1.0E30"),
    ],
)
def test_normalised_scores(raw: float, score: bytes) -> None:
    assert print_float(float(normalize([raw])[0])) == score


@given(st.lists(float32s, max_size=20))
def test_normalising_keeps_the_order_and_makes_nothing_negative(raw: list[float]) -> None:
    scores = normalize(raw)
    assert scores.dtype == np.float32
    assert bool(np.all(scores >= 0))
    order = np.argsort(np.asarray(raw, dtype=np.float32), kind="stable")
    assert bool(np.all(np.diff(scores[order]) >= 0))


@given(float32s)
def test_normalising_is_the_formula(raw: float) -> None:
    expected = np.float32(np.float32(max(raw, 0.0)) + np.float32(min(math.exp(min(raw, 1.0)), 1.0)))
    assert normalize([raw])[0] == expected


@given(float32s)
def test_a_printed_float_reads_back(value: float) -> None:
    text = print_float(value)
    assert np.float32(text.decode()) == np.float32(value)


@given(float32s)
def test_a_printed_float_has_javas_shape(value: float) -> None:
    mantissa, e, exponent = print_float(value).decode().removeprefix("-").partition("E")
    whole, point, fraction = mantissa.partition(".")
    assert point
    assert whole.isdigit()
    assert fraction.isdigit()
    if e:
        assert len(whole) == 1
        assert int(exponent) >= 7 or int(exponent) < -3
    else:
        assert value == 0 or 1e-3 <= abs(value) < 1e7


@given(st.floats(2**-10, 2**20, width=32) | st.integers(1, 10**7).map(float) | st.integers(1, 10**6).map(
    lambda thousandths: float(np.float32(thousandths / 1000))
))  # fmt: skip
def test_plain_numbers_have_the_fewest_digits(value: float) -> None:
    assume(1e-3 <= value < 1e7)
    shortest = np.format_float_positional(np.float32(value), unique=True, trim="0")
    assert print_float(value) == shortest.encode()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, b"1.0"),
        (-1.0, b"-1.0"),
        (0.0, b"0.0"),
        (-0.0, b"-0.0"),
        (0.1, b"0.1"),
        (0.13353139, b"0.13353139"),
        (100.0, b"100.0"),
        (99999.99, b"99999.99"),
        (100000.0, b"100000.0"),
        (999999.97, b"1000000.0"),
        (1234567.0, b"1234567.0"),
        (9999999.0, b"9999999.0"),
        (1e7, b"1.0E7"),
        (1.2345678e7, b"1.2345678E7"),
        (16777216.0, b"1.6777216E7"),
        (0.001, b"0.001"),
        (0.0012, b"0.0012"),
        (0.00099999, b"9.9999E-4"),
        (1e-4, b"1.0E-4"),
        (1.4e-45, b"1.4E-45"),
        (2.8e-45, b"2.8E-45"),
        (9.8e-45, b"9.8E-45"),
        (1.17549435e-38, b"1.1754944E-38"),
        (3.4028235e38, b"3.4028235E38"),
        (1.7014122e38, b"1.7014122E38"),
        (2e-44, b"2.0E-44"),
        (1 / 3, b"0.33333334"),
    ],
)
def test_javas_spelling(value: float, text: bytes) -> None:
    """As ``Float.toString`` of JDK 19 and later gives them."""
    assert print_float(value) == text


def test_reciprocal_ranks() -> None:
    assert [print_float(float(score)) for score in reciprocal_ranks(4)] == [
        b"1.0", b"0.5", b"0.33333334", b"0.25",
    ]  # fmt: skip
    assert len(reciprocal_ranks(0)) == 0


@given(st.integers(1, 10_000))
def test_reciprocal_ranks_never_tie(count: int) -> None:
    assert bool(np.all(np.diff(reciprocal_ranks(count)) < 0))
