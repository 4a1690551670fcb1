"""The answers that the edge itself gives, as bytes in Elasticsearch's format."""

from rerank_proxy.errors import Cause, ElasticsearchError, encode, error, rejected
from rerank_proxy.http.answer_reader import AnswerError
from rerank_proxy.http.head import status_line
from rerank_proxy.upstream import faults
from rerank_proxy.upstream.targets import Target, TargetError, UnixTarget

ARRIVAL_S = 60.0
"""Seconds within which a head must be complete, and the next piece of a buffered body must come."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class _WithoutBodyError(ElasticsearchError):
    """An error that Elasticsearch answers without a body, and without the headers of one."""


def render(
    failure: ElasticsearchError,
    *,
    close: bool,
    head_only: bool = False,
    opaque_id: bytes | None = None,
    fields: bytes = b"",
) -> bytes:
    """Return a complete answer.

    Args:
        close: The connection ends after the answer.
        head_only: It answers `HEAD`, without a body.
        opaque_id: The request's `X-Opaque-Id`, which Elasticsearch sends back.
        fields: Further lines of the head, with their line ends.
    """
    body = b"" if isinstance(failure, _WithoutBodyError) else encode(failure.body())
    if isinstance(failure, _WithoutBodyError):
        fields = b""  # as Elasticsearch does
    lines = [status_line(failure.status)]
    if opaque_id is not None:
        lines.append(b"X-Opaque-Id: " + opaque_id)
    if failure.status == 503:
        lines.append(b"Retry-After: 1")
    if body:
        lines.append(b"content-type: application/json")
    lines.append(b"content-length: %d" % len(body))
    if close:
        lines.append(b"connection: close")
    return b"\r\n".join(lines) + b"\r\n" + fields + b"\r\n" + (b"" if head_only else body)


def malformed(reason: str, status: int = 400) -> ElasticsearchError:
    return error(status, "illegal_argument_exception", f"malformed HTTP request: {reason}")


def head_too_long(limit: int) -> ElasticsearchError:
    return error(
        400, "too_long_http_header_exception", f"request line and headers are longer than {limit} bytes"
    )


def method_not_supported(method: str) -> ElasticsearchError:
    return error(405, "illegal_argument_exception", f"Unexpected http method: {method}")


def body_too_long(limit: int) -> ElasticsearchError:
    reason = f"the body of a search or an inference is longer than {limit} bytes"
    return _WithoutBodyError(413, Cause("content_too_long_exception", reason))


def origin_refused() -> ElasticsearchError:
    """Return the error with which upstream refuses the origin of a request (`CorsHandler`)."""
    return _WithoutBodyError(403, Cause("security_exception", "the origin is not allowed"))


def decoded_too_long(limit: int) -> ElasticsearchError:
    return error(
        413,
        "content_too_long_exception",
        f"the decoded body is larger than [{limit}] bytes, the most that [edge.max_inflation] and "
        "[edge.max_body] allow",
    )


def snappy_too_long(limit: int) -> ElasticsearchError:
    return error(
        413,
        "content_too_long_exception",
        f"the [snappy] body of a search or an inference is longer than [{limit}] bytes; use another coding",
    )


def too_much_buffered(limit: int) -> ElasticsearchError:
    return rejected(f"rejected a body: those of searches and inferences under way would exceed {limit} bytes")


def timed_out(what: str) -> ElasticsearchError:
    return error(408, "timeout_exception", f"the {what} did not arrive within {ARRIVAL_S:g} s")


def unreachable(problem: TargetError) -> ElasticsearchError:
    """Return the error for a target that cannot be connected to."""
    if isinstance(problem.target, UnixTarget):
        return _app_unavailable()
    return faults.unreachable(problem.target.name, problem.fault, [each.name for each in problem.others])


def disconnected(target: Target, what: str) -> ElasticsearchError:
    """Return the error for a target that sent nothing. `what`: what it did instead."""
    return broken(target, AnswerError(what, has_head=False))


def broken(target: Target, problem: AnswerError) -> ElasticsearchError:
    """Return the error for a target that sent no valid answer."""
    if isinstance(target, UnixTarget):
        return _app_unavailable()
    return faults.disconnected(target.name, str(problem), spoke_http=problem.has_head)


def _app_unavailable() -> ElasticsearchError:
    return error(
        503,
        "status_exception",
        "the reranking process is starting or restarting; other requests are served meanwhile",
    )
