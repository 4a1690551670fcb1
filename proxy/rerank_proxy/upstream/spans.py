"""The spans of requests to Elasticsearch, which hang its own below them."""

from typing import Final

from multidict import CIMultiDict

from rerank_proxy.observe.stages import Span

_CONTEXT: Final = ("traceparent", "tracestate")
_OPERATIONS: Final = {
    ("POST", "_search"): "search",
    ("POST", "_msearch"): "msearch",
    ("POST", "_pit"): "open_point_in_time",
    ("DELETE", "_pit"): "close_point_in_time",
    ("GET", "_mapping"): "indices.get_mapping",
    ("POST", "template"): "render_search_template",
    ("GET", "_authenticate"): "security.authenticate",
    ("POST", "_has_privileges"): "security.has_privileges",
    ("GET", "_inference"): "inference.get",
    ("POST", "_inference"): "inference.inference",
}
"""Names of APIs, as clients of Elasticsearch have them, by method and the word of the path that tells."""
_WORDS: Final = frozenset(word for _, word in _OPERATIONS)


def describe(span: Span, method: str, target: str) -> None:
    """Say what is asked: the API, and where, without the query."""
    path = target.partition("?")[0]
    words = [word for word in path.split("/") if word in _WORDS]
    operation = _OPERATIONS.get((method, words[-1]), method) if words else method
    span.rename(operation)
    span.set(
        {
            "db.system.name": "elasticsearch",
            "db.operation.name": operation,
            "http.request.method": method,
            "url.path": path,
        }
    )


def describe_answer(span: Span, status: int) -> None:
    """Say how Elasticsearch answered."""
    span.set({"db.response.status_code": str(status), "http.response.status_code": status})
    if status >= 400:
        span.fail(str(status))


def continued(headers: CIMultiDict[str], span: Span) -> CIMultiDict[str]:
    """Return headers that continue the trace from a span, in place of the client's own context."""
    headers = headers.copy()
    for name in _CONTEXT:
        headers.popall(name, None)
    headers.update(span.headers())
    return headers
