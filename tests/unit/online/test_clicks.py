"""The body of `POST /clicks`."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.online.clicks import MAX_CLICKS, ClickedDocument, SearchClicks, read_clicks


def body(*clicks: Any) -> bytes:
    return json.dumps({"clicks": clicks}).encode()


def test_several_clicks_of_several_searches() -> None:
    read = read_clicks(
        body(
            {"search": "A", "documents": ["7", {"id": "8"}]},
            {"search": "B", "documents": [{"id": "7", "index": "films"}]},
        )
    )
    assert read == [
        SearchClicks("A", ["7", ClickedDocument("8")]),
        SearchClicks("B", [ClickedDocument("7", "films")]),
    ]


@pytest.mark.parametrize(
    ("sent", "where"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`"),
        (b'{"clicks":[]}', r"\$\.clicks"),
        (b"{}", "`clicks`"),
        (b'{"clicks":[{}]}', r"\$\.clicks\[0\]"),
        (body({"search": "A", "documents": []}), "documents"),
        (body({"search": "A", "documents": [7]}), "documents"),
        (body({"search": "A", "documents": [""]}), "documents"),
        (body({"search": "A", "documents": ["x" * 513]}), "documents"),
        (body({"search": "x" * 129, "documents": ["7"]}), "search"),
        (body({"search": "A", "documents": ["7"], "user": "ann"}), "unknown field `user`"),
        (body({"search": "A", "documents": [{"id": "7", "query": "x"}]}), "unknown field `query`"),
        (b'{"clicks":[{"search":"\xff","documents":["7"]}]}', "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
    ],
)
def test_what_is_wrong_is_told(sent: bytes, where: str) -> None:
    with pytest.raises(ElasticsearchError, match=where) as refused:
        read_clicks(sent)
    assert refused.value.status == 400


def test_there_are_not_too_many() -> None:
    some = [{"search": "A", "documents": ["7"] * (MAX_CLICKS // 2)}] * 2
    assert len(read_clicks(body(*some))) == 2
    with pytest.raises(ElasticsearchError, match="more than"):
        read_clicks(body(*some, {"search": "B", "documents": ["7"]}))


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["clicks", "search", "documents", "id", "index", "x"]), inner),
    max_leaves=12,
).map(msgspec.json.encode))  # fmt: skip
def test_any_bytes_are_read_or_refused(sent: bytes) -> None:
    with suppress(ElasticsearchError):
        assert all(each.documents for each in read_clicks(sent))
