"""Which requests the application may have to answer.

Paths are compared the way Elasticsearch routes them (`RestRequest`, `RestController`, `PathTrie`): on the raw
path, which ends at the first `?` or `#`, split at `/`, without percent-decoding. The slash at the beginning
may be absent, any number of them may stand at the end, and between two of them the name of an index may be
missing: `//_search` is a search of all indices.
"""

import re

from rerank_proxy.async_search_id import names_kept_search

_END = rb"/*+(?:[?#]|\Z)"
_SEARCH = re.compile(rb"/?(?:[^/?#]*/)?(?:_m?search(?:/template)?|(_async_search))" + _END)
_TEMPLATE = re.compile(rb"[^?#]*?/template" + _END)

_INFERENCE_METHODS = (b"GET", b"PUT", b"POST", b"DELETE")
OTHER_INFERENCE_NAMES = r"(?:_(?!(?:all|services)(?![^/?#]))|\.diagnostics(?![^/?#]))"
"""How what follows `_inference/` begins where it is neither an endpoint nor a task type: `_region_policy`,
`_ccm` and their like, which are upstream's. No endpoint is called so.
"""
_INFERENCE = re.compile(
    rb"/?_inference(?:/(?!%b)(?:(text_embedding|sparse_embedding|embedding|completion|chat_completion)/)?"
    rb"|[?#]|\Z)" % OTHER_INFERENCE_NAMES.encode()
)
_TRAINED_MODELS = re.compile(rb"/?_ml/trained_models(?:[/?#]|\Z)")


def is_for_application(method: bytes, target: bytes, *, trained_models: bool) -> bool:
    """True for what the application may have to answer: its body is held until that is known.

    Args:
        trained_models: Whether clients may upload models.
    """
    return (
        is_search(method, target)
        or is_inference(method, target)
        or (trained_models and is_trained_models(method, target))
    )


def is_trained_models(method: bytes, target: bytes) -> bool:
    """True for the APIs of trained models and their deployments."""
    return method in _INFERENCE_METHODS and _TRAINED_MODELS.match(target) is not None


def is_inference(method: bytes, target: bytes) -> bool:
    """True for the endpoints of the `_inference` API."""
    return method in _INFERENCE_METHODS and _INFERENCE.match(target) is not None


def is_other_inference(target: bytes) -> bool:
    """True for endpoints of the `_inference` API whose path names another task than reranking.

    They are upstream's where it has such an API, hence also where the application is down.
    """
    match = _INFERENCE.match(target)
    return match is not None and match[1] is not None


def is_search(method: bytes, target: bytes) -> bool:
    """True for the endpoints whose body may hold a `text_similarity_reranker`, or which follow up on one."""
    if b"search" not in target:
        return False
    if follows_up(method, target):
        return True
    match = _SEARCH.match(target)
    if match is None:
        return False
    return method == b"POST" or (method == b"GET" and match[1] is None)


def follows_up(method: bytes, target: bytes) -> bool:
    """True for what only the application can answer: it keeps the asynchronous search that is asked for."""
    return method in (b"GET", b"DELETE") and names_kept_search(target)


def is_search_template(target: bytes) -> bool:
    """True for the endpoints of `is_search` that render a template first."""
    return _TEMPLATE.match(target) is not None


def query_of(target: bytes) -> bytes:
    """What follows the first `?`, raw."""
    return target.partition(b"?")[2]
