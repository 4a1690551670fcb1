"""Which API a path belongs to."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from proxy.app.apis.async_search import AsyncSearchStatus, KeptAsyncSearch, SubmitAsyncSearch
from proxy.app.apis.context import Api, ParseSearch
from proxy.app.apis.inference import Inference, InferenceApi, Operation
from proxy.app.apis.msearch import MultiSearch
from proxy.app.apis.search import Search
from proxy.app.apis.templates import MultiSearchTemplate, SearchTemplate
from proxy.app.apis.trained_models import Operation as TrainedModelsOperation
from proxy.app.apis.trained_models import TrainedModelsApi, TrainedModelsOperations
from proxy.app.async_searches import AsyncSearches
from proxy.app.credentials import CallerDigests
from proxy.app.metrics import InferenceMetrics, RequestCounter, SearchMetrics
from proxy.async_search_id import PATTERN
from proxy.search.executor import Executor

_INDEX = r"/(?:(?P<index>[^/]+)/)?"
_FIRST = r"(?P<first>[^/]+)"
_SECOND = r"(?P<second>[^/]+)"
_ID = r"(?P<id>[^/]+)"


@dataclass(frozen=True, slots=True)
class Route:
    """An API and its paths, compared as ``PathTrie`` does: raw; a slash at the end does not matter.

    Attributes:
        counter: Is told of requests that fail or go upstream after all.
    """

    path: re.Pattern[str]
    api: Api
    counter: RequestCounter


def inference_routes(api: InferenceApi, metrics: InferenceMetrics) -> Sequence[Route]:
    """The paths of `_inference`. Where one segment stands it is an id, of two the first is the task type."""
    read = {"GET": api.read}
    services = {"GET": api.services}
    update = {"PUT": api.update, "POST": api.update}  # clients of 8.16 and 8.17 post it
    stream = {"POST": api.stream}
    endpoint = {**read, "PUT": api.put, "POST": api.run, "DELETE": api.delete}
    paths: Sequence[tuple[str, Mapping[str, Operation]]] = (
        ("", read),
        ("/_services", services),
        (f"/_services/{_FIRST}", services),
        (f"/{_FIRST}/_update", update),
        (f"/{_FIRST}/{_SECOND}/_update", update),
        (f"/{_FIRST}/_stream", stream),
        (f"/{_FIRST}/{_SECOND}/_stream", stream),
        (f"/{_FIRST}", endpoint),
        (f"/{_FIRST}/{_SECOND}", endpoint),
    )
    return tuple(
        Route(re.compile(f"/_inference{rest}/?"), Inference(operations, metrics), metrics)
        for rest, operations in paths
    )


def trained_model_routes(api: TrainedModelsApi, metrics: InferenceMetrics) -> Sequence[Route]:
    """The paths of `_ml/trained_models`."""
    one = {"GET": api.read, "PUT": api.create, "DELETE": api.delete}
    infer = {"POST": api.infer}
    paths: Sequence[tuple[str, Mapping[str, TrainedModelsOperation]]] = (
        ("", {"GET": api.read}),
        ("/_stats", {"GET": api.stats}),
        (f"/{_ID}", one),
        (f"/{_ID}/_stats", {"GET": api.stats}),
        (f"/{_ID}/definition/(?P<part>[^/]+)", {"PUT": api.put_part}),
        (f"/{_ID}/vocabulary", {"PUT": api.put_vocabulary}),
        (f"/{_ID}/deployment/_start", {"POST": api.start}),
        (f"/{_ID}/deployment/_update", {"POST": api.update}),
        (f"/{_ID}/deployment/_stop", {"POST": api.stop}),
        (f"/{_ID}/_infer", infer),
        (f"/{_ID}/deployment/_infer", infer),  # of clients of 8.0 to 8.2
    )
    return tuple(
        Route(
            re.compile(f"/_ml/trained_models{rest}/?"), TrainedModelsOperations(operations, metrics), metrics
        )
        for rest, operations in paths
    )


def search_routes(
    executor: Executor, metrics: SearchMetrics, parse: ParseSearch, searches: AsyncSearches
) -> Sequence[Route]:
    """The APIs that may hold a retriever, and those that follow up on it."""
    callers = CallerDigests()

    def of_index(name: str, api: Api) -> Route:
        """With or without an index before it."""
        return Route(re.compile(f"{_INDEX}{name}/?"), api, metrics)

    def kept(what: str, api: Api) -> Route:
        """Of an asynchronous search that is kept here."""
        return Route(re.compile(f"/_async_search/{what}(?P<id>{PATTERN})/?"), api, metrics)

    return (
        of_index("_search", Search(executor, parse)),
        of_index("_msearch", MultiSearch(executor, metrics, parse)),
        of_index("_search/template", SearchTemplate(executor, parse)),
        of_index("_msearch/template", MultiSearchTemplate(executor, metrics, parse)),
        of_index("_async_search", SubmitAsyncSearch(searches, callers, executor, metrics, parse)),
        kept("", KeptAsyncSearch(searches, callers)),
        kept("status/", AsyncSearchStatus(searches, callers)),
    )
