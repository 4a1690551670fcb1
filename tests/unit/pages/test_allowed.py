"""What the playground sends: searches and what they are written with, and nothing that changes anything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.pages.allowed import check, is_search

SEARCHES = (
    "/_search",
    "/films/_search?size=3",
    "/films,books-*/_search",
    "/_all/_search",
    "/%3Clogs-%7Bnow%2Fd%7D%3E/_search",
    "/films/_msearch",
    "/_msearch/template",
    "/films/_search/template",
)
READS = (
    "/_mapping",
    "/films/_mapping",
    "/films/_field_caps?fields=*",
    "/_cat/indices?format=json",
    "/_cat/indices/f*",
    "/_resolve/index/*",
    "/_inference/rerank/_all",
    "/_inference/rerank/minilm",
)
REFUSED = (
    "",
    "_search",
    "http://elsewhere/_search",
    "//elsewhere/_search",
    "/",
    "/films",
    "/films/_doc/1",
    "/films/_delete_by_query",
    "/_bulk",
    "/_cluster/settings",
    "/_security/user",
    "/_search/scroll",
    "/_nodes/_search",
    "/films/../_search",
    "/%2e%2e/_search",
    "/..;x=y/_search",
    "/films%2F..%2F..%2F_bulk/_search",
    "/films\\..\\_bulk/_search",
    "/films%2F_bulk%3F/_search",
    "/films%2F_bulk%23/_search",
    "/_bulk%20HTTP%2F1.1%0D%0AX:%20y/_search",
    "/_cat/indices/x%00",
    "/_cat/indices/x%2f%2e%2e%2f%2e%2e%2f_nodes",
    "/_resolve/index/..%2F..%2F_nodes",
    "/films/_search/extra",
    "/_inference/text_embedding/e5",
    "/_inference/rerank/_update",
    "/_inference/rerank/%5Fupdate",
    "/_inference/rerank/minilm/_update",
    "/_inference/rerank/minilm%2F_update",
    "/_cat/nodes",
    "/films/_search\r\nX: y",
    "/films/_search HTTP/1.1",
    "/films/_search#x",
    "/fi ms/_search",
    "/filmé/_search",
    "/" + "x" * 5000 + "/_search",
)


@pytest.mark.parametrize("target", SEARCHES)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_searches(method: str, target: str) -> None:
    check(method, target)
    assert is_search(target)


@pytest.mark.parametrize("target", READS)
def test_reads(target: str) -> None:
    check("GET", target)
    assert not is_search(target)


@pytest.mark.parametrize("target", REFUSED)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_all_else_is_refused(method: str, target: str) -> None:
    with pytest.raises(ElasticsearchError) as refused:
        check(method, target)
    assert refused.value.status in (400, 403)


@given(st.sampled_from([*SEARCHES, *READS]), st.text(max_size=8).filter(lambda it: it not in ("GET", "POST")))
def test_no_other_method(target: str, method: str) -> None:
    with pytest.raises(ElasticsearchError):
        check(method, target)


def test_an_endpoint_may_be_run() -> None:
    check("POST", "/_inference/rerank/minilm")


@pytest.mark.parametrize(
    "target",
    ["/_inference/rerank/_all", "/_mapping", "/films/_mapping", "/_cat/indices", "/_resolve/index/x"],
)
def test_what_is_read_is_not_posted(target: str) -> None:
    with pytest.raises(ElasticsearchError):
        check("POST", target)
