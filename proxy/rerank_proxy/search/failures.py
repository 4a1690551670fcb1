"""Failures while a search runs, as native reports them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from rerank_proxy.errors import Cause, ElasticsearchError
from rerank_proxy.upstream.protocol import Reply

_PHASE: Final = {"phase": "rank-feature", "grouped": True, "failed_shards": []}
_SEARCH_FAILURE: Final = "search_phase_execution_exception"


class RankPhaseError(ElasticsearchError):
    """Ranking the window of a search failed, which makes that search fail (``RankFeaturePhase``)."""

    def __init__(self, failure: ElasticsearchError) -> None:
        reason = "Computing updated ranks for results failed"
        cause = Cause(_SEARCH_FAILURE, reason, _PHASE, caused_by=failure.cause)
        super().__init__(failure.status, cause, failure.retry_after_s)


class UnreadFieldError(ElasticsearchError):
    """The texts of a window could not be read on any shard; natively that fails in the same phase."""

    def __init__(self, failure: ElasticsearchError) -> None:
        metadata = {**failure.cause.metadata, "phase": _PHASE["phase"]}
        super().__init__(failure.status, replace(failure.cause, metadata=metadata))


class ChildFailedError(Exception):
    """A child could not be searched or ranked.

    Attributes:
        child: The name that native has for it in errors.
        failure: The reason.
    """

    def __init__(self, child: str, failure: ElasticsearchError) -> None:
        super().__init__(child)
        self.child = child
        self.failure = failure


def children_failed(parent: str, failures: Sequence[tuple[str, ElasticsearchError]]) -> ElasticsearchError:
    """Return the error of a compound retriever whose children failed (``CompoundRetrieverBuilder#rewrite``).

    Args:
        parent: The type of the retriever.
        failures: The names that native has for the failed children, each with the reason.
    """
    names = ", ".join(name for name, _ in failures)
    reason = (
        f"[{parent}] search failed - retrievers '[{names}]' returned errors. "
        "All failures are attached as suppressed exceptions."
    )
    suppressed = tuple(failure.cause for _, failure in failures)
    status = max(failure.status for _, failure in failures)
    waits_s = [failure.retry_after_s for _, failure in failures if failure.retry_after_s is not None]
    cause = Cause("status_exception", reason, suppressed=suppressed)
    return ElasticsearchError(status, cause, max(waits_s, default=None))


def search_failure(reply: Reply) -> ElasticsearchError | None:
    """Return the failure of a search on its shards; None for any other refusal.

    Native finds the others before it searches, and reports them as they are.
    """
    try:
        body = json.loads(reply.body)
        error = body["error"]
        if error["type"] != _SEARCH_FAILURE:
            return None
        return ElasticsearchError(reply.status, cause_of(error))
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return None


def may_be_due_to_fields(failure: ElasticsearchError) -> bool:
    """Return whether a search may have failed because of the fields that it was to return.

    Failures with other statuses are due to load, which another search would add to.
    """
    return failure.status in (400, 500)


_PARTS: Final = ("type", "reason", "root_cause", "caused_by", "suppressed")


def cause_of(error: Mapping[str, Any]) -> Cause:
    """Convert the JSON of an exception in an answer to a cause.

    Args:
        error: The decoded JSON.

    Raises:
        AttributeError, KeyError, RecursionError, TypeError: It is not an exception of Elasticsearch's.
    """
    type_, reason, inner = error["type"], error.get("reason") or "", error.get("caused_by")
    if not (isinstance(type_, str) and isinstance(reason, str)):
        raise TypeError("not an exception of Elasticsearch's")
    return Cause(
        type_,
        reason,
        {name: value for name, value in error.items() if name not in _PARTS},
        caused_by=None if inner is None else cause_of(inner),
        suppressed=tuple(map(cause_of, error.get("suppressed", ()))),
        has_reason=error.get("reason") is not None,
    )
