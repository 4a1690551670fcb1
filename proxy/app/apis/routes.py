"""Which API a path belongs to."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from proxy.app.apis.async_search import AsyncSearchStatus, KeptAsyncSearch, SubmitAsyncSearch
from proxy.app.apis.context import Api, ParseSearch
from proxy.app.apis.msearch import MultiSearch
from proxy.app.apis.search import Search
from proxy.app.apis.templates import MultiSearchTemplate, SearchTemplate
from proxy.app.async_searches import AsyncSearches
from proxy.app.credentials import CallerDigests
from proxy.app.metrics import SearchMetrics
from proxy.async_search_id import PATTERN
from proxy.search.executor import Executor

_INDEX = r"/(?:(?P<index>[^/]+)/)?"


@dataclass(frozen=True, slots=True)
class Route:
    """An API and its paths, compared as ``PathTrie`` does: raw; a slash at the end does not matter."""

    path: re.Pattern[str]
    api: Api


def routes(
    executor: Executor, metrics: SearchMetrics, parse: ParseSearch, searches: AsyncSearches
) -> Sequence[Route]:
    """The APIs that are answered here."""
    callers = CallerDigests()
    return (
        _route("_search", Search(executor, parse)),
        _route("_msearch", MultiSearch(executor, metrics, parse)),
        _route("_search/template", SearchTemplate(executor, parse)),
        _route("_msearch/template", MultiSearchTemplate(executor, metrics, parse)),
        _route("_async_search", SubmitAsyncSearch(searches, callers, executor, metrics, parse)),
        _kept("", KeptAsyncSearch(searches, callers)),
        _kept("status/", AsyncSearchStatus(searches, callers)),
    )


def _route(name: str, api: Api) -> Route:
    """With or without an index before it."""
    return Route(re.compile(f"{_INDEX}{name}/?"), api)


def _kept(what: str, api: Api) -> Route:
    """Of an asynchronous search that is kept here."""
    return Route(re.compile(f"/_async_search/{what}(?P<id>{PATTERN})/?"), api)
