"""The addresses of nodes in YAML and CBOR, as `test_addresses` has it for JSON."""

import json
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.edge.addresses.cbor import CborRewriter
from rerank_proxy.edge.addresses.place import LONGEST
from rerank_proxy.edge.addresses.yaml import YamlRewriter
from rerank_proxy.http.recoding import Transformation
from tests.support.examples import examples
from tests.unit.edge.test_addresses import ADDRESS, ANSWERS, NEW, is_address, rewritten

Parts = Iterator[tuple[bytes, bytes]]
CUTS = st.lists(st.integers(0, 1000), max_size=20)


def same(data: bytes) -> tuple[bytes, bytes]:
    return data, data


def head(kind: int, argument: int) -> bytes:
    if argument < 24:
        return bytes((kind << 5 | argument,))
    if argument < 256:
        return bytes((kind << 5 | 24, argument))
    return bytes((kind << 5 | 26,)) + struct.pack(">I", argument)


def text(value: str) -> bytes:
    raw = value.encode("utf-8", "surrogatepass")
    return head(3, len(raw)) + raw


def in_cbor(value: Any, endless: bool, path: tuple[str, ...] = ()) -> Parts:
    """Yield the parts of a value, each before and after. `endless`: they do not tell their size."""
    if isinstance(value, dict | list):
        kind = 5 if isinstance(value, dict) else 4
        yield same(bytes((kind << 5 | 31,)) if endless else head(kind, len(value)))
        for name, inner in value.items() if isinstance(value, dict) else (("[]", each) for each in value):
            if kind == 5:
                yield same(text(name))
            yield from in_cbor(inner, endless, (*path, name))
        if endless:
            yield same(b"\xff")
    elif isinstance(value, str):
        yield text(value), text(NEW.decode()) if is_address(path) else text(value)
    elif isinstance(value, bool) or value is None:
        yield same({None: b"\xf6", True: b"\xf5", False: b"\xf4"}[value])
    elif value < 0:
        yield same(b"\xfb" + struct.pack(">d", max(value, -(2**53))))
    else:
        yield same(head(0, min(value, 2**32 - 1)))


@examples(2)
@given(ANSWERS, st.booleans(), CUTS)
def test_cbor(value: Any, endless: bool, cuts: list[int]) -> None:
    parts = list(in_cbor(value, endless))
    before, after = (b"".join(each) for each in zip(*parts, strict=True))
    assert rewritten(before, cuts, CborRewriter) == after
    assert rewritten(before, list(range(len(before))), CborRewriter) == after


HTTP_OF_A_NODE = b"\xbf\x65nodes\xbf\x61a\xbf\x64http\xbf"
PUBLISHED = b"\x6fpublish_address"


@pytest.mark.parametrize(
    "inside",
    [
        b"\x01" + b"\x61x",  # a number as a name
        b"\x4fpublish_address" + b"\x61x",  # bytes
        b"\x7f\x67publish\x68_address\xff" + b"\x61x",  # in parts
        PUBLISHED + b"\x7f\x61x\xff",
        PUBLISHED + b"\x41x",
        PUBLISHED + b"\x9f\x61x\xff",
        PUBLISHED + head(3, LONGEST + 1) + b"x" * (LONGEST + 1),
        PUBLISHED + b"\x01" + b"\x01" + b"\x61x",
        b"\x6dbound_address" + b"\x61x",
    ],
)
def test_strange_cbor_stays(inside: bytes) -> None:
    data = HTTP_OF_A_NODE + inside + b"\xff\xff\xff\xff"
    for cuts in ([], list(range(len(data)))):
        assert rewritten(data, cuts, CborRewriter) == data
    found = HTTP_OF_A_NODE + inside + PUBLISHED + text(ADDRESS) + b"\xff\xff\xff\xff"
    assert NEW in rewritten(found, [], CborRewriter)


def in_yaml(value: Any, path: tuple[str, ...] = ()) -> Parts:
    """Yield the lines of an object as Elasticsearch prints them, each before and after."""
    blanks = "  " * len(path)
    for name, inner in value.items():
        plain = name if name.isidentifier() else json.dumps(name)
        start = f"{blanks}{plain}:"
        here = (*path, name)
        if isinstance(inner, dict) and inner:
            yield same(f"{start}\n".encode())
            yield from in_yaml(inner, here)
        elif isinstance(inner, list) and inner:
            yield same(f"{start}\n".encode())
            for each in inner:
                yield line(f"{blanks}- ", each, (*here, "[]"))
        else:
            yield line(f"{start} ", inner, here)


def line(start: str, value: Any, path: tuple[str, ...]) -> tuple[bytes, bytes]:
    before = f"{start}{json.dumps(value)}\n".encode()
    is_one = isinstance(value, str) and is_address(path)
    return before, f'{start}"{NEW.decode()}"\n'.encode() if is_one else before


@examples(2)
@given(ANSWERS, CUTS)
def test_yaml(value: Any, cuts: list[int]) -> None:
    parts = [same(b"---\n"), *in_yaml(value if isinstance(value, dict) else {"nodes": value})]
    before, after = (b"".join(each) for each in zip(*parts, strict=True))
    assert rewritten(before, cuts, YamlRewriter) == after
    assert rewritten(before, list(range(len(before))), YamlRewriter) == after


@pytest.mark.parametrize("new", [CborRewriter, YamlRewriter])
@given(data=st.binary(), cuts=CUTS)
def test_what_is_neither_passes(new: type[Transformation], data: bytes, cuts: list[int]) -> None:
    assert rewritten(data, cuts, new) == data


@pytest.mark.parametrize("length", [1, 23, 24, 255, 256])
def test_addresses_of_any_length(length: int) -> None:
    name = "x" * length
    data = HTTP_OF_A_NODE + PUBLISHED + text("a") + b"\xff\xff\xff\xff"
    rewriter = CborRewriter(name.encode())
    head_of_it = text(name)[:-length] if length < 256 else b"\x79\x01\x00"
    assert rewriter.feed(data) == data.replace(b"\x61a\xff", head_of_it + name.encode() + b"\xff")


def test_long_lines_are_not_held() -> None:
    """And they leave the nodes, as short ones do."""
    long = b"x" * 3 * LONGEST
    inside = b"nodes:\n  a:\n    http:\n      %b\n      publish_address: %b\n"
    parts = (b'"%b"' % long + b": 1", b'"%b"' % ADDRESS.encode())
    before = inside % parts + b"  b:\n    http:\n      publish_address: " + b'"%b"\n' % long
    before += b'"%b": 1\n    http:\n      publish_address: "a"\n' % long
    after = before.replace(b'"%b"' % ADDRESS.encode(), b'"%b"' % NEW)
    for step in (1, 700, 10**6):
        assert rewritten(before, list(range(0, len(before), step)), YamlRewriter) == after
