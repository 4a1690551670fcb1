"""Which requests may be sent to upstream a second time."""

import pytest

from rerank_proxy.upstream.read_only import is_read_only


@pytest.mark.parametrize(
    ("method", "target"),
    [
        (b"GET", b"/"),
        (b"GET", b"/i/_doc/1"),
        (b"HEAD", b"/i"),
        (b"OPTIONS", b"*"),
        (b"POST", b"/_search"),
        (b"POST", b"/i/_search?q=1"),
        (b"POST", b"/_msearch"),
        (b"POST", b"/i/_search/template"),
        (b"POST", b"/i/_count"),
        (b"POST", b"/_mget"),
        (b"POST", b"/i/_field_caps/"),
        (b"POST", b"/i/_explain/1"),
        (b"POST", b"/i/_validate/query"),
        (b"GET", b"/_inference/_all"),
    ],
)
def test_what_may_be_sent_twice(method: bytes, target: bytes) -> None:
    assert is_read_only(method, target)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        (b"PUT", b"/i"),
        (b"DELETE", b"/i"),
        (b"DELETE", b"/_search/scroll"),
        (b"POST", b"/_bulk"),
        (b"POST", b"/i/_doc"),
        (b"POST", b"/i/_update_by_query"),
        (b"POST", b"/_reindex"),
        (b"POST", b"/_search/scroll"),
        (b"GET", b"/_search/scroll"),
        (b"GET", b"/_search/scroll/abc?scroll=1m"),
        (b"GET", b"/_sql"),
        (b"POST", b"/_async_search"),
        (b"DELETE", b"/_async_search/rerank.abc"),
        (b"POST", b"/i/_pit?keep_alive=1m"),
        (b"POST", b"/i/_close#/_count"),
        (b"POST", b"/i/_close?x#/_count"),
        (b"POST", b"/_flush#/_search"),
        (b"POST", b"/i/_search?scroll=1m"),
        (b"GET", b"/i/_search?s%63roll=1m"),
        (b"GET", b"/i/_search?size=1#&x?a;scroll=1m"),
        (b"GET", b"/i/_search/template?scroll"),
        (b"GET", b"/i/_eql/search"),
        (b"GET", b"/_sql#"),
        (b"POST", b"/i/_doc/_search"),
        (b"PATCH", b"/_search"),
        (b"PUT", b"/_inference/rerank/mine"),
        (b"POST", b"/_inference/rerank/mine"),
        (b"DELETE", b"/_inference/mine"),
        (b"get", b"/"),
    ],
)
def test_what_may_not(method: bytes, target: bytes) -> None:
    assert not is_read_only(method, target)
