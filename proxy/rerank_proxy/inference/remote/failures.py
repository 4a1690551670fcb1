"""Failures of calls of remote services (``BaseResponseHandler``, ``RetryException``)."""

from http import HTTPStatus
from typing import Final

from rerank_proxy.errors import Cause
from rerank_proxy.inference.failures import InferenceFailedError, Why, because, in_log_words, status_error

_KNOWN: Final = frozenset(status.value for status in HTTPStatus)
_PREFIXES: Final = {
    400: "Received a bad request status code",
    401: "Received an authentication error status code",
    403: "Received a permission denied error status code",
    413: "Received a content too large status code",
    429: "Received a rate limit status code",
}

_ADVICE: Final = {
    401: ": are its credentials still valid?",
    403: ": may its credentials use this model?",
    404: ": are its URL and its model right?",
}


class RemoteFailedError(InferenceFailedError):
    """A call of a remote service failed.

    Attributes:
        transient: Whether another attempt may succeed.
        outage: Whether the service does not work at present, as opposed to refusing the call.
        retry_after_s: Seconds after which the service asks to be called again, where it does.
    """

    def __init__(
        self,
        status: int,
        cause: Cause,
        *,
        transient: bool = False,
        outage: bool = False,
        retry_after_s: float | None = None,
        why: Why = "vendor_error",
        words: str | None = None,
    ) -> None:
        super().__init__(status, cause, retry_after_s)
        because(why, self)
        in_log_words(words, self)
        self.transient = transient
        self.outage = outage


def refused(
    inference_id: str, status: int, url: str, message: str | None, retry_after_s: float | None = None
) -> RemoteFailedError:
    """Return the failure of a call whose answer is not a success.

    The client gets the same status where it is a known one from 400 to 499, and else 400, as in
        Elasticsearch: one
    of 500 and above would say that this server is broken.

    Args:
        url: What was called, without anything secret.
        message: The service's own words, without anything secret.
    """
    reason = f"{_prefix(status, url)} for request from inference entity id [{inference_id}] status [{status}]"
    if message:
        reason += f". Error message: [{message}]"
    shown = status if 400 <= status < 500 and status in _KNOWN else 400
    outage = _is_of_the_server(status)
    return RemoteFailedError(
        shown,
        Cause("status_exception", reason),
        transient=outage or status == 429,
        outage=outage,
        retry_after_s=retry_after_s,
        why="rate_limit" if status == 429 else "vendor_error",
        words=f"its service answers with status [{status}]{_ADVICE.get(status, '')}",
    )


def _is_of_the_server(status: int) -> bool:
    return 500 <= status < 600


def _prefix(status: int, url: str) -> str:
    if _is_of_the_server(status):
        return "Received a server error status code"
    if status == 404:
        return f"Resource not found at [{url}]"
    if 300 <= status < 400:
        return "Unhandled redirection"
    return _PREFIXES.get(status, "Received an unsuccessful status code")


def unreachable(inference_id: str, url: str, reason: str, *, transient: bool) -> RemoteFailedError:
    """Return the failure of a call without a connection, or whose connection broke.

    Args:
        transient: Whether nothing was sent, so that another attempt costs nothing.
    """
    text = f"Failed to send request from inference entity id [{inference_id}] to [{url}]: {reason}"
    return RemoteFailedError(
        400,
        Cause("status_exception", text),
        transient=transient,
        outage=True,
        words=f"its service cannot be reached: {reason}",
    )


def not_allowed(inference_id: str, url: str, reason: str) -> InferenceFailedError:
    """Return the failure of a call that may not be sent."""
    return status_error(
        400, f"Request from inference entity id [{inference_id}] to [{url}] is not allowed: {reason}"
    )


def unusable(inference_id: str, reason: str, status: int = 200) -> RemoteFailedError:
    """Return the failure of a call whose answer of success cannot be read.

    Elasticsearch has a 500 here. It is 400, as for a 5xx of the service, because it is not this server that
    is broken.
    """
    text = (
        f"Failed to read the answer to request from inference entity id [{inference_id}] status [{status}]: "
        f"{reason}"
    )
    words = "the answer of its service cannot be read; clients are told what is wrong with it"
    return RemoteFailedError(400, Cause("status_exception", text), words=words)


def failed_validation(failure: InferenceFailedError) -> InferenceFailedError:
    """Return the failure of creating or changing an endpoint that does not work
    (``ServiceIntegrationValidator``).
    """
    reason = (
        "Could not complete inference endpoint creation as validation call to service threw an exception."
    )
    return InferenceFailedError(400, Cause("status_exception", reason, caused_by=failure.cause))
