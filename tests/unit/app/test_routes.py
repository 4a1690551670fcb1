"""Which API answers which path."""

from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from rerank_proxy.app.apis.routes import search_routes
from rerank_proxy.app.apis.search import SearchReader
from rerank_proxy.app.async_searches import AsyncSearches
from rerank_proxy.app.metrics import SearchMetrics
from rerank_proxy.async_search_id import new_id
from rerank_proxy.search.executor import Executor
from rerank_proxy.settings import AsyncSearchSettings

KEPT = new_id()
ROUTES = search_routes(
    cast("Executor", None),
    SearchMetrics(CollectorRegistry()),
    SearchReader(),
    AsyncSearches(AsyncSearchSettings()),
)


def found(path: str) -> list[tuple[str, dict[str, str | None]]]:
    return [
        (type(route.api).__name__, match.groupdict())
        for route in ROUTES
        if (match := route.path.fullmatch(path)) is not None
    ]


@pytest.mark.parametrize(
    ("path", "api", "index"),
    [
        ("/_search", "SearchApi", None),
        ("//_search", "SearchApi", ""),
        ("//_msearch/template", "MultiSearchTemplateApi", ""),
        ("//_async_search", "SubmitAsyncSearch", ""),
        ("/a%2Fb,c/_search/", "SearchApi", "a%2Fb,c"),
        ("/_msearch", "MultiSearchApi", None),
        ("/_all/_msearch/", "MultiSearchApi", "_all"),
        ("/a/_search/template", "SearchTemplateApi", "a"),
        ("/_search/template/", "SearchTemplateApi", None),
        ("/_msearch/template", "MultiSearchTemplateApi", None),
        ("/a/_msearch/template", "MultiSearchTemplateApi", "a"),
        ("/a,b/_async_search", "SubmitAsyncSearch", "a,b"),
        ("/_async_search/", "SubmitAsyncSearch", None),
    ],
)
def test_paths(path: str, api: str, index: str | None) -> None:
    assert found(path) == [(api, {"index": index})]


@pytest.mark.parametrize(
    ("path", "api"),
    [
        (f"/_async_search/{KEPT}", "KeptAsyncSearch"),
        (f"/_async_search/{KEPT}/", "KeptAsyncSearch"),
        (f"/_async_search/status/{KEPT}", "AsyncSearchStatus"),
    ],
)
def test_searches_that_are_kept_here(path: str, api: str) -> None:
    assert found(path) == [(api, {"id": KEPT})]


@pytest.mark.parametrize(
    "path",
    [
        "///_search", "/a/b/_search", "/_search/scroll", "/_searchx", "/_msearch/x", "/a",
        "/_async_search/FmRldE8zREVEUzA2ZVpUeGs2ejJFUFEaMkZ5QTVrSTZSaVN3WlNFVmtlWHJsdzoxMDc=",
        f"/a/_async_search/{KEPT}",
    ],
)  # fmt: skip
def test_other_paths(path: str) -> None:
    assert found(path) == []
