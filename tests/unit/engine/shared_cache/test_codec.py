"""What is stored is what was given, and nothing else is taken for it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rerank_proxy.engine.rows import Output
from rerank_proxy.engine.shared_cache.codec import decode, encode, key_prefix

INFO = {"fingerprint": "f", "precision": "fp32", "device": "cuda:0"}
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
VALUES = arrays.arrays(np.float32, arrays.array_shapes(max_dims=3, min_side=0, max_side=5), elements=FINITE)
KEYS = st.binary(max_size=40)


@given(KEYS, VALUES, st.booleans())
def test_an_output_comes_back_as_it_was(key: bytes, values: np.ndarray, truncated: bool) -> None:
    read = decode(key, encode(key, Output(values, truncated)))
    assert read is not None
    assert read.truncated is truncated
    assert read.values.dtype == np.float32
    assert read.values.shape == values.shape
    assert read.values.tobytes() == values.tobytes()


@given(KEYS, VALUES, st.data())
def test_a_damaged_value_is_none(key: bytes, values: np.ndarray, data: st.DataObject) -> None:
    value = bytearray(encode(key, Output(values, False)))
    at = data.draw(st.integers(0, len(value) - 1))
    value[at] ^= data.draw(st.integers(1, 255))
    assert decode(key, bytes(value)) is None
    assert decode(key, encode(key, Output(values, False))[:at]) is None


@given(KEYS, KEYS, VALUES)
def test_the_value_of_another_key_is_none(key: bytes, other: bytes, values: np.ndarray) -> None:
    value = encode(key, Output(values, False))
    assert (decode(other, value) is None) == (other != key)


@given(KEYS, st.binary(max_size=200))
def test_any_bytes_are_none(key: bytes, value: bytes) -> None:
    assert decode(key, value) is None


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_none(number: float) -> None:
    assert decode(b"k", encode(b"k", Output(np.array([1.0, number], np.float32), False))) is None


@pytest.mark.parametrize(
    ("software", "change"),
    [
        ("other", {}),
        ("s", {"fingerprint": "g"}),
        ("s", {"precision": "int8"}),
        ("s", {"device": "cpu"}),
    ],
)
def test_what_decides_an_output_is_in_its_key(software: str, change: dict[str, str]) -> None:
    assert key_prefix("p", "s", INFO) != key_prefix("p", software, {**INFO, **change})


def test_one_device_is_as_good_as_another_of_its_kind() -> None:
    assert key_prefix("p", "s", INFO) == key_prefix("p", "s", {**INFO, "device": "cuda:1", "kind": "any"})


def test_a_model_without_a_fingerprint_has_no_keys() -> None:
    assert key_prefix("p", "s", {"precision": "fp32"}) is None
