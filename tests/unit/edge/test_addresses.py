"""The addresses of nodes in `_nodes`: they alone are replaced, however the text is cut into pieces."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.edge.addresses.json import JsonRewriter
from rerank_proxy.edge.addresses.place import LONGEST
from rerank_proxy.http.recoding import Transformation
from tests.support.examples import examples

NEW = b"proxy.example:9201"
NAMES = ("nodes", "http", "publish_address", "bound_address", "transport", "id", 'a"b\\', "é", "")
ADDRESS = "127.0.0.1:9200"


@dataclass(frozen=True)
class Pair:
    """A text in two versions: as it comes, and as it becomes."""

    before: bytes
    after: bytes


def printed(value: Any, space: str, path: tuple[str, ...] = ()) -> Iterator[tuple[bytes, bytes]]:
    """Yield the parts of the text of a value, each before and after, by the rule as one reads it."""
    if isinstance(value, dict):
        yield from same("{")
        for number, (name, inner) in enumerate(value.items()):
            yield from same(("," if number else "") + space + json.dumps(name) + space + ":" + space)
            yield from printed(inner, space, (*path, name))
        yield from same(space + "}")
    elif isinstance(value, list):
        yield from same("[")
        for number, inner in enumerate(value):
            yield from same("," + space if number else space)
            yield from printed(inner, space, (*path, "[]"))
        yield from same("]")
    elif isinstance(value, str) and is_address(path):
        yield json.dumps(value).encode(), b'"%b"' % NEW
    else:
        yield from same(json.dumps(value))


def same(text: str) -> Iterator[tuple[bytes, bytes]]:
    yield text.encode(), text.encode()


def is_address(path: tuple[str, ...]) -> bool:
    match path:
        case ("nodes", node, "http", "publish_address") | ("nodes", node, "http", "bound_address", "[]"):
            return node != "[]"
    return False


def pair(value: Any, space: str = "") -> Pair:
    parts = list(printed(value, space))
    return Pair(b"".join(before for before, _ in parts), b"".join(after for _, after in parts))


def rewritten(text: bytes, cuts: list[int], new: Callable[[bytes], Transformation] = JsonRewriter) -> bytes:
    rewriter = new(NEW)
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [rewriter.feed(text[a:b]) for a, b in pairwise(edges)]
    return b"".join([*pieces, rewriter.end()])


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([*NAMES, ADDRESS, "[::1]:9200", "{[,:"]),
    st.text(),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
    ),
    max_leaves=20,
)
HTTP = st.dictionaries(
    st.sampled_from(["publish_address", "bound_address", "other"]),
    st.one_of(SCALARS, st.lists(st.one_of(SCALARS, VALUES), max_size=3), VALUES),
)
NODES = st.dictionaries(
    st.text(max_size=5),
    st.dictionaries(st.sampled_from(["http", "transport", "name"]), st.one_of(HTTP, VALUES)),
)
ANSWERS = st.one_of(VALUES, st.fixed_dictionaries({"_nodes": VALUES, "nodes": NODES, "more": VALUES}))


@examples(2)
@given(ANSWERS, st.sampled_from(["", " ", "\n  ", "\r\n\t"]), st.lists(st.integers(0, 2000), max_size=30))
def test_nothing_but_addresses_changes(value: Any, space: str, cuts: list[int]) -> None:
    expected = pair(value, space)
    assert rewritten(expected.before, cuts) == expected.after


@given(ANSWERS)
def test_pieces_of_one_byte(value: Any) -> None:
    expected = pair(value)
    assert rewritten(expected.before, list(range(len(expected.before)))) == expected.after


@given(st.binary(), st.lists(st.integers(0, 300), max_size=10))
def test_what_is_not_json_passes(data: bytes, cuts: list[int]) -> None:
    assert rewritten(data, cuts) == data


@given(
    st.lists(
        st.sampled_from([b'{"nodes":{"a":{"http":{', b'"publish_address":"x"', b'"', b"\\", b"]", b"}", b","])
    ),
    st.lists(st.integers(0, 300), max_size=10),
)
def test_of_broken_json_too_the_pieces_make_no_difference(parts: list[bytes], cuts: list[int]) -> None:
    text = b"".join(parts)
    assert rewritten(text, cuts) == rewritten(text, [])


@pytest.mark.parametrize("length", [LONGEST - 3, LONGEST - 2, LONGEST - 1, 5 * LONGEST])
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_long_strings_are_not_held(length: int, step: int) -> None:
    long = "\\" * (length % 2) * 2 + "x" * (length - length % 2 * 2)
    value = {
        long: {"x": long},
        "nodes": {long: {"http": {long: long, "publish_address": ADDRESS, "bound_address": [ADDRESS]}}},
    }
    expected = pair(value)
    rewriter = JsonRewriter(NEW)
    got = b""
    for start in range(0, len(expected.before), step):
        got += rewriter.feed(expected.before[start : start + step])
        assert start + step - len(got) <= LONGEST + step + len(NEW)
    assert got + rewriter.end() == expected.after


def test_a_large_answer_takes_time_in_proportion() -> None:
    """One string of ten megabytes, unterminated, in pieces: nothing is read twice but what is held."""
    rewriter = JsonRewriter(NEW)
    text = b'{"nodes":{"a":{"http":{"x":"' + b"\\n" * 5_000_000
    got = b"".join(rewriter.feed(text[at : at + 65536]) for at in range(0, len(text), 65536))
    assert got + rewriter.end() == text
