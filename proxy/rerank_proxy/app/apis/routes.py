"""Routes: which API a path belongs to."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rerank_proxy.app.apis.async_search import AsyncSearchStatus, KeptAsyncSearch, SubmitAsyncSearch
from rerank_proxy.app.apis.context import Api
from rerank_proxy.app.apis.inference import InferenceApi, Target
from rerank_proxy.app.apis.msearch import MultiSearchApi
from rerank_proxy.app.apis.rest import Operation, Operations
from rerank_proxy.app.apis.search import SearchApi, SearchReader
from rerank_proxy.app.apis.templates import MultiSearchTemplateApi, SearchTemplateApi
from rerank_proxy.app.apis.trained_models import TrainedModelsApi
from rerank_proxy.app.async_searches import AsyncSearches
from rerank_proxy.app.metrics import InferenceMetrics, NotCounted, RequestCounter
from rerank_proxy.async_search_id import PATTERN
from rerank_proxy.edge.router import OTHER_INFERENCE_NAMES
from rerank_proxy.search.executor import Executor
from rerank_proxy.upstream import privileges
from rerank_proxy.upstream.privileges import Action, Privileges
from rerank_proxy.upstream.trained_models import PATH as MODELS

_INDEX = r"/(?:(?P<index>[^/]*)/)?"
_FIRST = rf"(?P<first>(?!{OTHER_INFERENCE_NAMES})[^/]*)"
_SECOND = r"(?P<second>[^/]+)"
_ID = r"(?P<id>[^/]*)"


@dataclass(frozen=True, slots=True)
class Route:
    """An API and its paths.

    Paths are compared as ``PathTrie`` does: raw; a slash at the end does not matter, and what stands for a
    name may be empty where something follows it.

    Attributes:
        counter: Is told what became of each request.
        in_lines: The API's bodies are JSON texts, one in a line.
    """

    path: re.Pattern[str]
    api: Api
    counter: RequestCounter
    in_lines: bool = False


def inference_routes(api: InferenceApi, guard: Privileges, metrics: InferenceMetrics) -> Sequence[Route]:
    """Return the routes of `_inference`. One segment is an id; of two the first is the task type."""
    read = {"GET": (api.read, privileges.GET_ENDPOINT)}
    services = {"GET": (api.services, privileges.GET_SERVICES)}
    change = (api.update, privileges.UPDATE_ENDPOINT)
    update = {"PUT": change, "POST": change}  # clients of 8.16 and 8.17 post it
    stream = {"POST": (api.stream, privileges.RUN_INFERENCE)}
    endpoint = {
        **read,
        "PUT": (api.put, privileges.PUT_ENDPOINT),
        "POST": (api.run, privileges.RUN_INFERENCE),
        "DELETE": (api.delete, privileges.DELETE_ENDPOINT),
    }
    paths: Sequence[tuple[str, Mapping[str, tuple[Operation[Target], Action]]]] = (
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
        Route(re.compile(f"/_inference{rest}/?"), Operations(operations, api.target, guard), metrics)
        for rest, operations in paths
    )


def trained_model_routes(
    api: TrainedModelsApi, guard: Privileges, metrics: InferenceMetrics
) -> Sequence[Route]:
    """Return the routes of `_ml/trained_models`."""
    read = (api.read, privileges.GET_MODEL)
    stats = {"GET": (api.stats, privileges.GET_MODEL_STATS)}
    one = {
        "GET": read,
        "PUT": (api.create, privileges.PUT_MODEL),
        "DELETE": (api.delete, privileges.DELETE_MODEL),
    }
    infer = {"POST": (api.infer, privileges.INFER_MODEL)}
    paths: Sequence[tuple[str, Mapping[str, tuple[Operation[str], Action]]]] = (
        ("", {"GET": read}),
        ("/_stats", stats),
        (f"/{_ID}", one),
        (f"/{_ID}/_stats", stats),
        (f"/{_ID}/definition/(?P<part>[^/]+)", {"PUT": (api.put_part, privileges.PUT_MODEL_PART)}),
        (f"/{_ID}/vocabulary", {"PUT": (api.put_vocabulary, privileges.PUT_MODEL_VOCABULARY)}),
        (f"/{_ID}/deployment/_start", {"POST": (api.start, privileges.START_DEPLOYMENT)}),
        (f"/{_ID}/deployment/_update", {"POST": (api.update, privileges.UPDATE_DEPLOYMENT)}),
        (f"/{_ID}/deployment/_stop", {"POST": (api.stop, privileges.STOP_DEPLOYMENT)}),
        (f"/{_ID}/_infer", infer),
        (f"/{_ID}/deployment/_infer", infer),  # of clients of 8.0 to 8.2
    )
    return tuple(
        Route(re.compile(f"{MODELS}{rest}/?"), Operations(operations, api.target, guard), metrics)
        for rest, operations in paths
    )


def search_routes(
    executor: Executor, metrics: RequestCounter, reader: SearchReader, searches: AsyncSearches
) -> Sequence[Route]:
    """Return the routes of the APIs that may hold a retriever, and of those that follow up on it."""

    def of_index(name: str, api: Api) -> Route:
        """Return a route with or without an index before the name."""
        return Route(re.compile(f"{_INDEX}{name}/?"), api, metrics, in_lines=name.startswith("_msearch"))

    def kept(what: str, api: Api) -> Route:
        """Return a route to an asynchronous search that is kept here."""
        return Route(re.compile(f"/_async_search/{what}(?P<id>{PATTERN})/?"), api, NotCounted())

    return (
        of_index("_search", SearchApi(executor, reader)),
        of_index("_msearch", MultiSearchApi(executor, reader)),
        of_index("_search/template", SearchTemplateApi(executor, reader)),
        of_index("_msearch/template", MultiSearchTemplateApi(executor, reader)),
        of_index("_async_search", SubmitAsyncSearch(searches, executor, metrics, reader)),
        kept("", KeptAsyncSearch(searches)),
        kept("status/", AsyncSearchStatus(searches)),
    )
