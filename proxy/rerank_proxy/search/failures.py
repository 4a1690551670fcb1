"""Run-time failures as native reports them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from rerank_proxy.errors import Cause, ElasticsearchError
from rerank_proxy.upstream.protocol import Reply

_PHASE: Final = {"phase": "rank-feature", "grouped": True, "failed_shards": []}
_SEARCH_FAILURE: Final = "search_phase_execution_exception"


class RankPhaseError(ElasticsearchError):
    """Ranking the window of a search failed, which that search reports (``RankFeaturePhase``)."""

    def __init__(self, status: int, cause: Cause) -> None:
        reason = "Computing updated ranks for results failed"
        super().__init__(status, Cause(_SEARCH_FAILURE, reason, _PHASE, caused_by=cause))


class UnreadFieldError(ElasticsearchError):
    """A window's texts could not be read on any shard, which the search reports of the same phase."""

    def __init__(self, failure: ElasticsearchError) -> None:
        metadata = {**failure.cause.metadata, "phase": _PHASE["phase"]}
        super().__init__(failure.status, replace(failure.cause, metadata=metadata))


class ChildFailedError(Exception):
    """A child could not be searched or ranked; `child` is what native calls it."""

    def __init__(self, child: str, failure: ElasticsearchError) -> None:
        super().__init__(child)
        self.child = child
        self.failure = failure


def children_failed(parent: str, failures: Sequence[tuple[str, ElasticsearchError]]) -> ElasticsearchError:
    """Return what a compound retriever makes of its children's failures
    (``CompoundRetrieverBuilder#rewrite``).

    Args:
        parent: Its type.
        failures: The children that failed, by what native calls them, with the reasons.
    """
    names = ", ".join(name for name, _ in failures)
    reason = (
        f"[{parent}] search failed - retrievers '[{names}]' returned errors. "
        "All failures are attached as suppressed exceptions."
    )
    suppressed = tuple(failure.cause for _, failure in failures)
    status = max(failure.status for _, failure in failures)
    return ElasticsearchError(status, Cause("status_exception", reason, suppressed=suppressed))


def search_failure(reply: Reply) -> ElasticsearchError | None:
    """A search that failed on its shards; None for any other refusal, which native reports as it is: it finds
    those before it searches.
    """
    try:
        body = json.loads(reply.body)
        error = body["error"]
        if error["type"] != _SEARCH_FAILURE:
            return None
        return ElasticsearchError(reply.status, cause_of(error))
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return None


def may_be_for_fields(failure: ElasticsearchError) -> bool:
    """Whether a search may have failed for the fields that it was to return. Other statuses tell of load, to
    which nothing should be added.
    """
    return failure.status in (400, 500)


_PARTS: Final = ("type", "reason", "root_cause", "caused_by", "suppressed")


def cause_of(error: Mapping[str, Any]) -> Cause:
    """An exception in the body of an answer, decoded.

    Raises:
        AttributeError, KeyError, RecursionError, TypeError: It is none of Elasticsearch's.
    """
    type_, reason, inner = error["type"], error.get("reason") or "", error.get("caused_by")
    if not (isinstance(type_, str) and isinstance(reason, str)):
        raise TypeError("no exception of Elasticsearch's")
    return Cause(
        type_,
        reason,
        {name: value for name, value in error.items() if name not in _PARTS},
        caused_by=None if inner is None else cause_of(inner),
        suppressed=tuple(map(cause_of, error.get("suppressed", ()))),
        has_reason=error.get("reason") is not None,
    )
