"""How much of an answer is read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.inference.ranking import RerankRequest
from rerank_proxy.inference.remote.limits import AnswerLimit, Measured, UnusableAnswerError, answer_limit
from rerank_proxy.services import json_call
from tests.support.remote import remote_case
from tests.support.vendors import CASES

JINA = next(case for case in CASES if case.service == "jinaai")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def count(value: object) -> int:
    """Return the number of values in a value, itself included."""
    if isinstance(value, dict):
        return 1 + sum(map(count, value.values()))
    return 1 + sum(map(count, value)) if isinstance(value, list) else 1


def fits(text: bytes, values: int, size: int) -> bool:
    """Return whether an answer that comes in pieces of `size` bytes is within a limit of values."""
    measured = Measured(AnswerLimit(len(text), values, "too large"), b"")
    try:
        for start in range(0, len(text), size):
            measured.add(text[start : start + size])
    except UnusableAnswerError:
        return False
    return measured.body == text


@given(VALUES, st.integers(1, 10))
def test_values_are_never_counted_too_few(value: object, size: int) -> None:
    text = json.dumps(value).encode()
    within = count(value) - 1
    assert within == 0 or not fits(text, within - 1, size)
    assert fits(text, len(text), size)


def test_the_limit_follows_from_texts_and_call() -> None:
    small = json_call("http://x", {"texts": ["a"]}, {})
    large = json_call("http://x", {"texts": ["a" * 1000]}, {})
    assert answer_limit(small, 2, 10**9).size - answer_limit(small, 1, 10**9).size == 16 * 1024
    assert answer_limit(large, 1, 10**9).size - answer_limit(small, 1, 10**9).size == 6 * 999
    assert answer_limit(large, 1, 1000).size == 1000
    assert "[remote.max_answer: 1000]" in answer_limit(large, 1, 1000).why


def test_bytes_are_counted_over_all_pieces() -> None:
    measured = Measured(AnswerLimit(10, 10, "too large"), b"")
    measured.add(b"12345")
    measured.add(b"67890")
    with pytest.raises(UnusableAnswerError, match="too large"):
        measured.add(b"1")


@pytest.mark.parametrize(
    "text", [",[{" * 20_000, "\x01" * 20_000, "\u00e4" * 20_000, "<&>" * 20_000, '"' * 20_000]
)
async def test_texts_that_a_vendor_sends_back_are_accounted_for(text: str) -> None:
    """A vendor's JSON may be six times as long as that of the call, as it is here."""
    async with remote_case(JINA) as (remote, vendor, endpoint):
        escaped = "".join(f"\\u{ord(each):04x}" for each in text)
        vendor.says(b'{"results": [{"index": 0, "relevance_score": 1, "document": "%s"}]}' % escaped.encode())
        (doc,) = await endpoint.rank(RerankRequest("q", [text], None, True), remote.deadline())
        assert doc.text == text
        vendor.says(json.dumps({"results": [{"index": 0, "relevance_score": 1, "document": text}]}).encode())
        (doc,) = await endpoint.rank(RerankRequest("q", [text], None, True), remote.deadline())
        assert doc.text == text
