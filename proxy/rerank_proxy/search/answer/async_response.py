"""Build the answers of `_async_search`: a search's answer in an ``AsyncSearchResponse``, or its status."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.upstream.protocol import Reply
from rerank_proxy.xcontent.instants import iso_instant
from rerank_proxy.xcontent.pretty import pretty_print
from rerank_proxy.xcontent.splicing import Printer, members

_compact: Final = Printer(pretty=False)
_SHARDS: Final = ("total", "successful", "skipped", "failed")
_PARTIAL_CLUSTERS: Final = ("skipped", "running", "partial", "failed")


@dataclass(frozen=True, slots=True)
class AsyncResult:
    """The result of a search that has ended.

    Attributes:
        status: The HTTP status of an answer with this result.
        response: The answer of the search, as compact JSON; None if it failed.
        error: The reason why it failed, as JSON.
        headers: The headers of every answer with this result.
    """

    status: int
    response: bytes | None
    error: bytes | None = None
    headers: Sequence[tuple[str, str]] = ()

    @property
    def size(self) -> int:
        """The bytes of the answer or the error."""
        return len(self.response or b"") + len(self.error or b"")


@dataclass(frozen=True, slots=True)
class SearchProgress:
    """The state of a search.

    Attributes:
        id: The id under which it is kept; None if it is not kept.
        start_time: Milliseconds since the epoch.
        expiration_time: Milliseconds since the epoch.
        took: Milliseconds since it started.
        result: None while it runs.
    """

    id: str | None
    start_time: int
    expiration_time: int
    took: int
    result: AsyncResult | None


def completed(answer: bytes, headers: Iterable[tuple[str, str]]) -> AsyncResult:
    """Return the result of a search that succeeded."""
    return AsyncResult(200, answer, headers=tuple(headers))


def failed(failure: ElasticsearchError) -> AsyncResult:
    """Return the result of a search that failed in the proxy."""
    return _failed(failure.status, _compact.value(failure.cause.render()), failure.headers())


def refused(reply: Reply) -> AsyncResult:
    """Return the result of a search that ended with an error from upstream."""
    warnings = tuple((name, value) for name, value in reply.headers if name.lower() == "warning")
    return _failed(reply.status, _cause_of(reply), warnings)


def unstorable(failure: ElasticsearchError) -> AsyncResult:
    """Return the result that replaces one that cannot be kept (``AsyncSearchResponse#convertToFailure``)."""
    return AsyncResult(failure.status, None, _compact.value(failure.cause.render()))


def _failed(status: int, cause: bytes, headers: Sequence[tuple[str, str]] = ()) -> AsyncResult:
    """Return a failure in the wrapper that ``AsyncSearchTask`` puts around every failure of its search."""
    wrapper = {"type": b'"status_exception"', "reason": b'"error while executing search"', "caused_by": cause}
    return AsyncResult(status, None, _compact.object(wrapper, 0), headers)


def _cause_of(reply: Reply) -> bytes:
    """Return the exception of an error body, without the root causes, which belong to the top level alone."""
    try:
        failure = members(reply.body)["error"]
        if failure.startswith(b"{"):
            return _compact.object({k: v for k, v in members(failure).items() if k != "root_cause"}, 0)
    except (ElasticsearchError, KeyError, TypeError, ValueError):
        pass
    reason = f"upstream answered an inner search with status {reply.status}"
    return _compact.value({"type": "status_exception", "reason": reason})


def print_search(progress: SearchProgress, *, pretty: bool, human: bool, total_as_int: bool = False) -> bytes:
    """Print a search with its answer (``AsyncSearchResponse#toXContentChunked``).

    Args:
        human: Whether to print times in a readable form, too.
        total_as_int: Whether the partial response of a running search has its total as a number. A finished
            answer is printed as it is.
    """
    result = progress.result
    body = {"id": _json(progress.id)} if progress.id is not None else {}
    body["is_partial"] = _json(_is_partial(result))
    body["is_running"] = _json(result is None)
    body |= _times(progress, human)
    if result is None:
        body["response"] = _partial_response(progress.took, total_as_int)
    elif result.response is not None:
        body["response"] = result.response
    elif result.error is not None:
        body["error"] = result.error
    return _print(body, pretty)


def print_status(progress: SearchProgress, *, pretty: bool, human: bool) -> bytes:
    """Print the status of a search (``AsyncStatusResponse#toXContent``)."""
    result = progress.result
    body = {
        "id": _json(progress.id),
        "is_running": _json(result is None),
        "is_partial": _json(_is_partial(result)),
    }
    body |= _times(progress, human)
    response = members(result.response) if result is not None and result.response is not None else {}
    shards = members(response.get("_shards", b"{}"))
    body["_shards"] = _compact.object({name: shards.get(name, b"0") for name in _SHARDS}, 0)
    if "_clusters" in response:
        body["_clusters"] = response["_clusters"]
    if result is not None:
        body["completion_status"] = _json(result.status)
    return _print(body, pretty)


def print_acknowledged(*, pretty: bool) -> bytes:
    """Print the answer to a deletion (``AcknowledgedResponse``)."""
    return _print({"acknowledged": b"true"}, pretty)


def _is_partial(result: AsyncResult | None) -> bool:
    """Return whether an answer is partial (``MutableSearchResponse``).

    That of a search that succeeded is partial only if remote clusters failed or were skipped.
    """
    if result is None or result.response is None:
        return True
    clusters = members(members(result.response).get("_clusters", b"{}"))
    return any(clusters.get(name, b"0") != b"0" for name in _PARTIAL_CLUSTERS)


def _times(progress: SearchProgress, human: bool) -> dict[str, bytes]:
    times = {"start_time": progress.start_time, "expiration_time": progress.expiration_time}
    if progress.result is not None and progress.result.response is not None:
        times["completion_time"] = progress.start_time + int(members(progress.result.response)["took"])
    printed: dict[str, bytes] = {}
    for name, millis in times.items():
        if human:
            printed[name] = _json(iso_instant(millis))
        printed[f"{name}_in_millis"] = _json(millis)
    return printed


def _partial_response(took: int, total_as_int: bool) -> bytes:
    """Return the response before the first shard has answered (``MutableSearchResponse#buildResponse``)."""
    return _compact.value(
        {
            "took": took,
            "timed_out": False,
            "terminated_early": False,
            "num_reduce_phases": 0,
            "_shards": dict.fromkeys(_SHARDS, 0),
            "hits": {
                "total": 0 if total_as_int else {"value": 0, "relation": "gte"},
                "max_score": None,
                "hits": [],
            },
        }
    )


def _json(value: Any) -> bytes:
    return _compact.value(value)


def _print(body: Mapping[str, bytes], pretty: bool) -> bytes:
    printed = _compact.object(body, 0)
    return pretty_print(printed) + b"\n" if pretty else printed
