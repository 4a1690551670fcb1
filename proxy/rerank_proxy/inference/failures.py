"""Failures of inference, in Elasticsearch's words."""

from collections.abc import Iterable
from typing import Final, Literal, TypeVar

from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.errors import Cause, ElasticsearchError
from rerank_proxy.observe import stages

Why = Literal[
    "queue_full",
    "too_late",
    "deadline",
    "model_failed",
    "vendor_error",
    "breaker_open",
    "rate_limit",
    "upstream_error",
    "not_found",
    "denied",
    "other",
]
"""Why a window keeps its first-stage order, as metrics count it:

- `queue_full`: there is no room for its texts;
- `too_late`: the deadline was out of reach, which was told at once;
- `deadline`: the time was over;
- `model_failed`: a model of this machine cannot be loaded, or failed;
- `vendor_error`: a remote service did not answer, or with an error;
- `breaker_open`: it was not called, because its calls kept failing;
- `rate_limit`: the endpoint's own limit, or the service's (429);
- `upstream_error`: Elasticsearch refused an inference by an endpoint of its own;
- `not_found`: the endpoint does not exist;
- `denied`: the caller may not use it;
- `other`: a setting or a text that the endpoint does not take, for example.
"""


_Failure = TypeVar("_Failure", bound="InferenceFailedError")


class InferenceFailedError(ElasticsearchError):
    """There is no such endpoint, or its model or service did not answer, or not with what was asked for."""

    _why: Why = "other"
    _words: str | None = None


def why(failure: InferenceFailedError) -> Why:
    """Return why there are no scores, as metrics count it."""
    return failure._why


def because(why: Why, failure: _Failure) -> _Failure:
    """Say of a failure why there are no scores, as metrics count it, and return it."""
    failure._why = why
    return failure


def log_words(failure: InferenceFailedError) -> str | None:
    """Return what failed, in words for the log that hold nothing that was sent or received; None, why there
    are no scores says enough.
    """
    return failure._words


def in_log_words(words: str | None, failure: _Failure) -> _Failure:
    """Say of a failure what failed, in words for the log, and return it."""
    failure._words = words
    return failure


class TimedOutError(InferenceFailedError):
    """The time that a call had has passed."""


def status_error(status: int, reason: str, caused_by: Cause | None = None) -> InferenceFailedError:
    """Return an ``ElasticsearchStatusException``."""
    return InferenceFailedError(status, Cause("status_exception", reason, caused_by=caused_by))


def timed_out(inference_id: str, deadline: Deadline, what: str) -> TimedOutError:
    """Return the failure of a call without an answer in time: native's words, caused by the limit that
    struck.

    Args:
        what: What was not done.
    """
    reason = f"Request timed out after [{deadline.time}] for inference id [{inference_id}]"
    inner = Cause("timeout_exception", deadline.missed(what))
    stages.miss(deadline.name)
    return because("deadline", TimedOutError(429, Cause("status_exception", reason, caused_by=inner)))


def illegal_state(reason: str) -> InferenceFailedError:
    """Return the failure of a service that answered with success, but not with what was asked for."""
    return InferenceFailedError(500, Cause("illegal_state_exception", reason))


def not_found(inference_id: str) -> InferenceFailedError:
    """Return the failure of a call to an endpoint that does not exist."""
    reason = f"Inference endpoint not found [{inference_id}]"
    return because("not_found", InferenceFailedError(404, Cause("resource_not_found_exception", reason)))


def wrong_task_type(task_type: str, requested: str = "rerank") -> InferenceFailedError:
    """Return the failure of a call to an endpoint of another task type."""
    return status_error(
        400,
        f"Requested task type [{requested}] does not match the inference endpoint's task type [{task_type}]",
    )


_ONLY_RERANK: Final = (
    "rerank-proxy serves the task type [rerank] alone, "
    "and the Elasticsearch behind it has no [_inference] API"
)


def not_served(task_type: str) -> InferenceFailedError:
    """Return the failure of creating an endpoint of a task type that only upstream could serve."""
    return status_error(400, f"Task type [{task_type}] is not available here: {_ONLY_RERANK}")


def never_found(inference_id: str) -> InferenceFailedError:
    """Return the failure of a call to an endpoint of a task type that no endpoint here can have."""
    reason = f"Inference endpoint not found [{inference_id}]: {_ONLY_RERANK}"
    return InferenceFailedError(404, Cause("resource_not_found_exception", reason))


def unknown_service(service: str, known: Iterable[str]) -> InferenceFailedError:
    """Return the failure of creating an endpoint of a service that neither the proxy nor upstream has."""
    services = ", ".join(sorted(known))
    return status_error(
        400, f"Unknown service [{service}]: {_ONLY_RERANK}; the services here are [{services}]"
    )


def invalid_settings(messages: Iterable[str]) -> InferenceFailedError:
    """Return a ``ValidationException``: all messages in one reason, numbered from 1."""
    numbered = "".join(f"{number}: {message};" for number, message in enumerate(messages, 1))
    return InferenceFailedError(400, Cause("validation_exception", f"Validation Failed: {numbered}"))
