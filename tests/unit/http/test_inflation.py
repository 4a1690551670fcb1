import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.http.inflation import ALWAYS_ALLOWED, decoded_limit

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("coded", "limit"),
    [(0, MIB), (20, MIB), (MIB // 100, MIB), (MIB, 100 * MIB), (2 * MIB, 100 * MIB), (50_000, 5_000_000)],
)
def test_a_floor_a_slope_and_a_ceiling(coded: int, limit: int) -> None:
    assert decoded_limit(coded, 100, 100 * MIB) == limit


@given(st.integers(0, 1 << 40), st.integers(1, 2000), st.integers(1, 1 << 40))
def test_the_limit_of_all_bodies_is_never_exceeded(coded: int, max_inflation: int, max_body: int) -> None:
    limit = decoded_limit(coded, max_inflation, max_body)
    assert limit <= max_body
    assert limit >= min(coded * max_inflation, max_body)
    assert limit >= min(ALWAYS_ALLOWED, max_body)
