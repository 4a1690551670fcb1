"""Which requests the application may have to answer.

Paths are compared the way Elasticsearch routes them (`RestRequest`, `RestController`, `PathTrie`): on the raw
path, which ends at the first `?` or `#`, split at `/`, without percent-decoding. The slash at the beginning
may be absent, any number of them may stand at the end, and between two of them the name of an index may be
missing: `//_search` is a search of all indices.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple

from rerank_proxy.async_search_id import names_kept_search
from rerank_proxy.edge.detection import Detection, find_in_query

REMEMBERED: Final = 256
"""How many targets are remembered, most of them of searches."""
MAX_REMEMBERED_BYTES: Final = 1024
"""The most bytes of one of them."""

_END = rb"/*+(?:[?#]|\Z)"
_SEARCH = re.compile(rb"/?(?:[^/?#]*/)?(?:_m?search(?:/template)?|(_async_search))" + _END)
_TEMPLATE = re.compile(rb"[^?#]*?/template" + _END)

_INFERENCE_METHODS = (b"GET", b"PUT", b"POST", b"DELETE")
OTHER_INFERENCE_NAMES = r"(?:_(?!(?:all|services)(?![^/?#]))|\.diagnostics(?![^/?#]))"
"""How the path behind `_inference/` begins where it is neither an endpoint nor a task type: `_region_policy`,
`_ccm` and the like, which are upstream's. No endpoint has such a name.
"""
_INFERENCE = re.compile(
    rb"/?_inference(?:/(?!%b)(?:(text_embedding|sparse_embedding|embedding|completion|chat_completion)/)?"
    rb"|[?#]|\Z)" % OTHER_INFERENCE_NAMES.encode()
)
is_more_than_relayed = re.compile(rb"_(?:m?search|async_search|inference|ml/|nodes)").search
"""Finds what is in every target that the functions below may answer True for, so that one quick search
answers for most of the traffic.
"""
_NODES = re.compile(rb"/?_nodes(?!/++(?:[^/?#]*+/++)?(?:stats|usage|hot_?threads)(?:[/?#]|\Z))(?:[/?#]|\Z)")
"""`_nodes`, its nodes and metrics, but for the other APIs below it (`RestNodesInfoAction`)."""
_TRAINED_MODELS = re.compile(rb"/?_ml/trained_models(?:[/?#]|\Z)")


class Route(NamedTuple):
    """The way of a request, as far as its first line tells.

    Attributes:
        is_inspected: The application may have to answer: the request is buffered until that is known.
        detection: What the first line tells of such a request by itself; None if it depends on the body.
        is_template: It renders a template first.
        names_addresses: The answer may name the addresses at which the nodes speak HTTP.
    """

    is_inspected: bool = False
    detection: Detection | None = None
    is_template: bool = False
    names_addresses: bool = False


def route_of(method: bytes, target: bytes, *, trained_models: bool) -> Route:
    """Return the way of a request that `is_more_than_relayed` may have to do more for than to relay it.

    Args:
        trained_models: Whether clients may upload models.
    """
    if len(target) <= MAX_REMEMBERED_BYTES:
        return _remembered(method, target, trained_models)
    return _route_of(method, target, trained_models)


def _route_of(method: bytes, target: bytes, trained_models: bool) -> Route:
    if not is_for_application(method, target, trained_models=trained_models):
        return Route(names_addresses=names_node_addresses(method, target))
    return Route(is_inspected=True, detection=_detect(method, target), is_template=is_search_template(target))


_remembered = lru_cache(REMEMBERED)(_route_of)


def _detect(method: bytes, target: bytes) -> Detection | None:
    if is_trained_models(method, target):
        return Detection.FOUND
    if is_inference(method, target):
        return Detection.POSSIBLE if is_other_inference(target) else Detection.FOUND
    if follows_up(method, target) or (b"?" in target and find_in_query(query_of(target))):
        return Detection.FOUND
    return None


def is_for_application(method: bytes, target: bytes, *, trained_models: bool) -> bool:
    """Return whether the application may have to answer.

    Args:
        trained_models: Whether clients may upload models.
    """
    return (
        is_search(method, target)
        or is_inference(method, target)
        or (trained_models and is_trained_models(method, target))
    )


def names_node_addresses(method: bytes, target: bytes) -> bool:
    """Return whether the answer may name the addresses at which the nodes speak HTTP.

    Of all APIs this is `_nodes` alone. `_cluster/state` knows transport addresses, and `_cat/nodes`, whose
    column `http_address` is for people, is not read by clients that sniff.
    """
    return method == b"GET" and _NODES.match(target) is not None


def is_trained_models(method: bytes, target: bytes) -> bool:
    """Return whether the target is one of the APIs of trained models and their deployments."""
    return method in _INFERENCE_METHODS and _TRAINED_MODELS.match(target) is not None


def is_inference(method: bytes, target: bytes) -> bool:
    """Return whether the target is one of the endpoints of the `_inference` API."""
    return method in _INFERENCE_METHODS and _INFERENCE.match(target) is not None


def is_other_inference(target: bytes) -> bool:
    """Return whether an endpoint of the `_inference` API has a path that names another task than reranking.

    Such requests are upstream's where it has the API, even when the application is down.
    """
    match = _INFERENCE.match(target)
    return match is not None and match[1] is not None


def is_search(method: bytes, target: bytes) -> bool:
    """Return whether a body may hold a `text_similarity_reranker`, or the request follows up on such a
    search.
    """
    if follows_up(method, target):
        return True
    match = _SEARCH.match(target)
    if match is None:
        return False
    return method == b"POST" or (method == b"GET" and match[1] is None)


def follows_up(method: bytes, target: bytes) -> bool:
    """Return whether the request is for an asynchronous search that the application keeps."""
    return method in (b"GET", b"DELETE") and names_kept_search(target)


def is_search_template(target: bytes) -> bool:
    """Return whether a search endpoint renders a template first."""
    return target.rfind(b"/template") >= 0 and _TEMPLATE.match(target) is not None


def query_of(target: bytes) -> bytes:
    """Return what follows the first `?`, raw."""
    return target.partition(b"?")[2]
