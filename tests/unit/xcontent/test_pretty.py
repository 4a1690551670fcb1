"""`pretty` changes the space between tokens and nothing else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.xcontent.pretty import pretty_print
from rerank_proxy.xcontent.splicing import Printer

texts = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]))  # others may be spelt twofold
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4)
)


@given(values, st.sampled_from([(",", ":"), (" , ", "\n:\t")]))
def test_it_is_laid_out_as_elasticsearch_does(value: object, separators: tuple[str, str]) -> None:
    raw = json.dumps(value, ensure_ascii=False, separators=separators).encode("utf-8", "surrogatepass")
    assert pretty_print(raw) == Printer(pretty=True).value(value)


@given(values, st.integers(0, 3))
def test_inside_of_others_it_is_moved_to_the_right(value: object, depth: int) -> None:
    raw = json.dumps(value).encode()
    assert pretty_print(raw, depth) == pretty_print(raw).replace(b"\n", b"\n" + b"  " * depth)


@pytest.mark.parametrize(
    "raw",
    [
        b"1E5",
        b"1.10",
        b"-0",
        b"100000000000000000000000000000",
        rb'"\ud800 \/ \u00e9 \" \\"',
        '"é {[:,]} "'.encode(),
        b'"a\\\\"',
    ],
)
def test_scalars_keep_their_spelling(raw: bytes) -> None:
    assert pretty_print(raw) == raw
    assert pretty_print(b"[" + raw + b"]") == b"[\n  " + raw + b"\n]"


def test_no_depth_is_too_deep() -> None:
    deep = pretty_print(b"[" * 5000 + b"]" * 5000)
    assert deep.count(b"\n") == 2 * 4999
    assert deep.startswith(b"[\n  [\n    [")
