"""Any bytes are a registry, read as they are and written as they were, or damaged."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.inference.registry.content import Content, DamagedFileError, parse, render
from rerank_proxy.inference.registry.documents import (
    MAX_BYTES,
    MAX_DEPTH,
    DamagedError,
    decode,
    from_document,
    key_of,
    to_document,
)
from rerank_proxy.inference.registry.key_ring import KeyRing
from tests.support.stores import document_of, endpoint

RING = KeyRing([b"k" * 32])
IDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
DOCUMENT = bytes(to_document(endpoint("a", api_key="sesame"), RING))
FILE = b'{"revision": 7, "endpoints": {"a": {"revision": 3, "endpoint": %b}}}' % DOCUMENT
PIECES = st.sampled_from(
    [b"", b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"-1", b"1e999", b"9" * 400, b"\xff", b"\\u0000"]
) | st.binary(max_size=3)


@st.composite
def spoilt(draw: st.DrawFn, whole: bytes) -> bytes:
    """Return bytes with some pieces replaced by others."""
    for _ in range(draw(st.integers(1, 3))):
        begin = draw(st.integers(0, len(whole)))
        end = draw(st.integers(begin, min(len(whole), begin + 12)))
        whole = whole[:begin] + draw(PIECES) + whole[end:]
    return whole


def read(data: bytes) -> Content | None:
    try:
        return parse(data)
    except DamagedFileError as error:
        message = str(error)
    assert message.isprintable()
    assert len(message) < 1000
    return None


@given(spoilt(FILE) | st.binary(max_size=40))
def test_any_bytes(data: bytes) -> None:
    content = read(data)
    if content is not None:
        again = parse(render(content))
        assert again == content
        for inference_id, entry in content.endpoints.items():
            assert bytes(entry.endpoint) in data
            _check_endpoint(inference_id, bytes(entry.endpoint))


@given(spoilt(DOCUMENT) | st.binary(max_size=40))
def test_any_document(data: bytes) -> None:
    _check_endpoint("a", data)


def _check_endpoint(inference_id: str, data: bytes) -> None:
    key_of(data)
    try:
        found = from_document(inference_id, decode(data), RING)
    except DamagedError:
        return
    assert from_document(inference_id, document_of(found.config, RING), RING).config == found.config


@given(st.dictionaries(IDS, IDS), st.integers(0, 2**53 - 1))
def test_any_ids(values: dict[str, str], revision: int) -> None:
    entries = {name: {"revision": 1, "endpoint": value} for name, value in values.items()}
    content = parse(json.dumps({"revision": revision, "endpoints": entries}).encode())
    again = json.loads(render(content))
    assert again == {"revision": revision, "endpoints": entries}


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH, 900, 100_000])
def test_deep_documents(opening: str, depth: int) -> None:
    closing = "]" if opening == "[" else "}"
    document = {**document_of(endpoint("a"), None), "service_settings": {"x": "HERE"}}
    data = json.dumps(document).replace('"HERE"', opening * depth + "1" + closing * depth).encode()
    if depth < MAX_DEPTH:
        assert from_document("a", decode(data), None).config.service_settings
        return
    with pytest.raises(DamagedError, match=f"its settings are nested more than {MAX_DEPTH} deep"):
        from_document("a", decode(data), None)


def test_huge_documents() -> None:
    with pytest.raises(DamagedError, match=f"it takes {MAX_BYTES + 1} bytes, more than {MAX_BYTES}"):
        decode(b" " * (MAX_BYTES + 1))


@pytest.mark.parametrize(
    "value",
    [[[]] * 100_000, {"a": "b" * 10**6}, "c" * 10**6, 10**300, True],
    ids=["wide", "map", "text", "int", "bool"],
)
def test_what_is_shown_of_a_damaged_document_is_short(value: Any) -> None:
    for name in ("format", "inference_id", "service", "service_settings", "secrets"):
        if isinstance(value, dict if name.endswith("settings") else str) and name != "inference_id":
            continue  # which may be right
        with pytest.raises(DamagedError) as raised:
            from_document("a", {**document_of(endpoint("a"), None), name: value}, RING)
        assert len(str(raised.value)) < 200
