"""The answers that the edge itself gives, as bytes in Elasticsearch's format.

They have the headers of Elasticsearch's own errors in its order, the product among them: clients and Kibana
take an answer without it for that of some other server on the way. Like Elasticsearch's, those without a
body (413, and a refused origin) have no more than a length.
"""

from typing import Any

from rerank_proxy.errors import Cause, ElasticsearchError, encode, error, rejected
from rerank_proxy.http.answer_reader import AnswerError
from rerank_proxy.http.head import RequestHead, status_line
from rerank_proxy.http.media_types import Format
from rerank_proxy.http.messages import Request, to_bytes
from rerank_proxy.http.negotiation import negotiate
from rerank_proxy.upstream import faults
from rerank_proxy.upstream.headers import of_own_answer
from rerank_proxy.upstream.targets import Target, TargetError, UnixTarget

ARRIVAL_S = 60.0
"""Seconds within which a head must be complete, and the next piece of a buffered body must come."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class _WithoutBodyError(ElasticsearchError):
    """An error that Elasticsearch answers without a body, and without the headers of one."""


class _ShortError(ElasticsearchError):
    """An error of Elasticsearch's dispatcher, which has a text in the place of exceptions."""

    def body(self) -> dict[str, Any]:
        return {"error": self.cause.reason, "status": self.status}


def render(
    failure: ElasticsearchError, *, close: bool, request: RequestHead | None = None, fields: bytes = b""
) -> bytes:
    """Return a complete answer.

    Args:
        close: The connection ends after the answer.
        request: What it answers; None for what could not be read.
        fields: Further lines of the head, with their line ends.
    """
    if isinstance(failure, _WithoutBodyError):
        return _printed(failure.status, [(b"content-length", b"0")], close=close)
    body = encode(failure.body())
    headers = Request.of(request, b"").headers if request is not None else {}
    lines = [(name.encode(), to_bytes(value)) for name, value in of_own_answer(headers, failure.status)]
    if failure.status == 503:
        lines.append((b"Retry-After", b"1"))
    lines += [
        (b"content-type", _json_type(request).encode()),
        (b"content-length", b"%d" % len(body)),
    ]
    is_sent = request is None or request.method != b"HEAD"
    return _printed(failure.status, lines, close=close, fields=fields) + (body if is_sent else b"")


def _printed(status: int, lines: list[tuple[bytes, bytes]], *, close: bool, fields: bytes = b"") -> bytes:
    if close:
        lines = [*lines, (b"connection", b"close")]
    printed = b"".join(b"%b: %b\r\n" % line for line in lines)
    return b"%b\r\n%b%b\r\n" % (status_line(status), printed, fields)


def _json_type(request: RequestHead | None) -> str:
    """Return the media type that the client gives JSON, for which it may ask by a vendor's name."""
    if request is not None:
        headers = Request.of(request, b"").headers
        types = (headers.getall(name, []) for name in ("Accept", "Content-Type"))
        chosen = negotiate(None, *types, has_body=False)
        if chosen is not None and chosen.format is Format.JSON:
            return chosen.content_type
    return "application/json"


def malformed(reason: str, status: int = 400) -> ElasticsearchError:
    return error(status, "illegal_argument_exception", f"malformed HTTP request: {reason}")


def head_too_long(limit: int) -> ElasticsearchError:
    return error(
        400, "too_long_http_header_exception", f"request line and headers are longer than {limit} bytes"
    )


def method_not_supported(method: str) -> ElasticsearchError:
    cause = Cause("illegal_argument_exception", f"Unexpected http method: {method}")
    return _ShortError(405, cause)


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
