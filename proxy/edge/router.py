"""Which requests the application may have to answer, and which may be sent twice.

Paths are compared the way Elasticsearch routes them (`RestController`, `PathTrie`): on the raw path split at
`/`, no percent-decoding, a trailing slash allowed, a doubled leading slash not.
"""

import re

from proxy.async_search_id import names_ours

_SEARCH = re.compile(rb"/(?:[^/?]+/)?(?:_m?search(?:/template)?|(_async_search))/?(?:\?|\Z)")

# What reads without leaving a trace, so that a second try shows the caller nothing. Not here:
# `_search/scroll` and `_sql` move a cursor, `_async_search` and `_pit` leave something behind.
_READS = re.compile(
    rb"/(?:[^/?]+/)?(?:_m?search(?:/template)?|_count|_mget|_field_caps|_mtermvectors|_rank_eval|_terms_enum"
    rb"|_search_shards|_validate/query|_render/template|_analyze|_explain/[^/?]+|_termvectors(?:/[^/?]+)?"
    rb")/?(?:\?|\Z)"
)
_INFERENCE_METHODS = (b"GET", b"PUT", b"POST", b"DELETE")
_INFERENCE = re.compile(
    rb"/_inference(?:/(?:(text_embedding|sparse_embedding|embedding|completion|chat_completion)/)?|\?|\Z)"
)
_TRAINED_MODELS = re.compile(rb"/_ml/trained_models(?:[/?]|\Z)")
_CURSOR = re.compile(rb"/(?:_search/scroll(?:/[^/?]*)?|_sql)/?(?:\?|\Z)")


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
    return method in (b"GET", b"DELETE") and names_ours(target)


def is_read_only(method: bytes, target: bytes) -> bool:
    """True when a request that may have reached upstream can be sent again unnoticed."""
    if method == b"GET":
        return _CURSOR.match(target) is None
    return method in (b"HEAD", b"OPTIONS") or (method == b"POST" and _READS.match(target) is not None)


def is_search_template(target: bytes) -> bool:
    """True for the endpoints of `is_search` that render a template first."""
    return target.partition(b"?")[0].rstrip(b"/").endswith(b"/template")


def query_of(target: bytes) -> bytes:
    """What follows the first `?`, raw."""
    return target.partition(b"?")[2]
