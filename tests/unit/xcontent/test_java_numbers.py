"""Numbers are printed as in Java."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.xcontent.java_numbers import print_double


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0.0"), (-0.0, "-0.0"), (1.0, "1.0"), (1.10, "1.1"), (1e5, "100000.0"),
        (1234567.5, "1234567.5"),
        (12345678.5, "1.23456785E7"), (1e7, "1.0E7"), (-1e7, "-1.0E7"), (0.001, "0.001"),
        (0.00099, "9.9E-4"),
        (1e-7, "1.0E-7"), (1.5e300, "1.5E300"), (1e23, "1.0E23"), (5e-324, "4.9E-324"),
        (2e-323, "2.0E-323"),
        (1.7976931348623157e308, "1.7976931348623157E308"), (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
    ],
)  # fmt: skip
def test_spelling(value: float, expected: str) -> None:
    assert print_double(value) == expected


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_no_digit_is_lost(value: float) -> None:
    printed = print_double(value)
    assert float(printed) == value
    assert "." in printed
