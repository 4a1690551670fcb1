"""Requests that a node answers about itself."""

import pytest

from rerank_proxy.upstream.node_local import is_node_local


@pytest.mark.parametrize(
    "target",
    [
        b"/", b"", b"//", b"/?pretty", b"/_nodes/_local", b"/_nodes/_local/stats/http", b"/_nodes/%5flocal",
        b"/_tasks?nodes=_local", b"/_cluster/health?local", b"/_cluster/health?local=true",
        b"/_cluster/state?pretty&local=true", b"/_cat/nodes?v&local=true", b"/a/_search?preference=_local",
        b"/a/_search?preference=_only_local", b"/_search?preference=%5Fl%6fcal", b"/_ssl/certificates",
        b"/_remote/info",
    ],
)  # fmt: skip
def test_those_of_one_node(target: bytes) -> None:
    assert is_node_local(target)


@pytest.mark.parametrize(
    "target",
    [
        b"/_search", b"/a/_search?pretty", b"/_cat/nodes?v", b"/_nodes/stats", b"/_nodes/hot_threads",
        b"/_cluster/health", b"/a/_doc/1", b"/_bulk", b"/_search/scroll", b"/_pit", b"/a", b"/*", b"*",
        b"/_remote/a", b"/a%2fb",
    ],
)  # fmt: skip
def test_those_of_the_cluster(target: bytes) -> None:
    assert not is_node_local(target)
