"""Ids of ours are never taken for Elasticsearch's, nor Elasticsearch's for ours."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.async_search_id import PATTERN, names_kept_search, new_id


@pytest.mark.parametrize("path", ["/_async_search/%s", "/_async_search/%s/", "/_async_search/status/%s"])
@pytest.mark.parametrize("query", ["", "?", "?keep_alive=1d", "?x=/"])
def test_new_ids_are_ours(path: str, query: str) -> None:
    for _ in range(100):
        new = new_id()
        assert re.fullmatch(PATTERN, new)
        assert re.fullmatch(r"[A-Za-z0-9._-]{39}", new)  # nothing that a client would encode
        assert names_kept_search(f"{path % new}{query}".encode())


@given(st.binary(max_size=60))
def test_no_id_of_elasticsearch_is(encoded: bytes) -> None:
    """``AsyncExecutionId#encode``: URL-safe base64 of whatever it is."""
    theirs = base64.urlsafe_b64encode(encoded)
    assert not names_kept_search(b"/_async_search/" + theirs)
    assert not names_kept_search(b"/_async_search/status/" + theirs)
    assert not re.fullmatch(PATTERN, theirs.decode())


@pytest.mark.parametrize(
    "target",
    [
        "/_async_search",
        "/_async_search/",
        "/_async_search?x=/_async_search/rerank.x",
        "/_async_search/status",
        "/i/_async_search/rerank.x",
        "/_async_search/rerank.x/y",
        "/_async_search/other/rerank.x",
        "/_async_search/Rerank.x",
        "/_async_search/xrerank.x",
        "/_search/rerank.x",
        "//_async_search/rerank.x",
    ],
)
def test_other_targets(target: str) -> None:
    assert not names_kept_search(target.encode())
