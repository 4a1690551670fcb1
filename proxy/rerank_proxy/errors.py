"""Errors in Elasticsearch's shape, and functions for those of the commonest types.

The shape and the choice of ``root_cause`` follow ``org.elasticsearch.ElasticsearchException``
(``generateFailureXContent``, ``guessRootCauses``).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final, TypeVar

import msgspec

_XCONTENT = frozenset(
    {"x_content_parse_exception", "named_object_not_found_exception", "x_content_e_o_f_exception"}
)
# Types that are plain Java exceptions: no root cause is looked for inside them, and none is promoted from
# them.
_JAVA = frozenset(
    {
        "action_request_validation_exception",
        "class_cast_exception",
        "illegal_argument_exception",
        "illegal_state_exception",
        "input_coercion_exception",
        "json_e_o_f_exception",
        "jackson_y_a_m_l_parse_exception",
        "json_parse_exception",
        "marked_y_a_m_l_exception",
        "null_pointer_exception",
        "number_format_exception",
        "pattern_syntax_exception",
        "stream_constraints_exception",
        "validation_exception",
    }
)
_SEARCH_FAILURE: Final = "search_phase_execution_exception"

_LONGEST_LINE: Final = 1000
"""Characters of a reason that people read in a line."""

_E = TypeVar("_E", bound=BaseException)

MAX_REASON: Final = 50_000
"""Characters. Reasons often repeat what the client wrote, which may be a hundred megabytes."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One exception in an error body: `type` in Elasticsearch's snake case, `metadata` in print order.

    A reason longer than `MAX_REASON` is cut in the middle.
    """

    type: str
    reason: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    caused_by: "Cause | None" = None
    suppressed: tuple["Cause", ...] = ()
    has_reason: bool = True
    """False for an exception that was thrown without a message: its reason is printed as null."""

    def __post_init__(self) -> None:
        if len(self.reason) > MAX_REASON:
            half = MAX_REASON // 2
            object.__setattr__(self, "reason", f"{self.reason[:half]}…{self.reason[-half:]}")

    def root_causes(self) -> list["Cause"]:
        """Return the innermost exceptions, those that Elasticsearch names under `root_cause`."""
        inner = self.caused_by
        if inner is None or self.type in _JAVA:
            return [self]
        if self.type == _SEARCH_FAILURE and not self.metadata.get("failed_shards", True):
            return []  # the root causes are those of its shards
        descends = inner.type not in _JAVA and (self.type in _XCONTENT or inner.type not in _XCONTENT)
        return inner.root_causes() if descends else [self]

    def render(self, *, causes: bool = True) -> dict[str, Any]:
        """Return the JSON object of this exception.

        Args:
            causes: Include `caused_by`; without, it is left out at every depth.
        """
        metadata = self.metadata if causes else _without_causes(self.metadata)
        body: dict[str, Any] = {
            "type": self.type,
            "reason": self.reason if self.has_reason else None,
            **metadata,
        }
        if causes and self.caused_by is not None:
            body["caused_by"] = self.caused_by.render()
        if self.suppressed:
            body["suppressed"] = [each.render(causes=causes) for each in self.suppressed]
        return body


def _without_causes(value: Any) -> Any:
    """Leave out `caused_by` at every depth, including in the exceptions of shards, which are metadata."""
    if isinstance(value, Mapping):
        return {name: _without_causes(item) for name, item in value.items() if name != "caused_by"}
    if isinstance(value, list):
        return [_without_causes(item) for item in value]
    return value


class ElasticsearchError(Exception):
    """A failure that the client sees as an error of Elasticsearch.

    Args:
        status: HTTP status, unit-less, 400 to 599.
        cause: The outermost exception of the body.
        retry_after_s: Seconds after which another try may succeed; None if that is not known.
    """

    def __init__(self, status: int, cause: Cause, retry_after_s: float | None = None) -> None:
        super().__init__(cause.reason)
        self.status = status
        self.cause = cause
        self.retry_after_s = retry_after_s

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers that the response has because of the failure."""
        if self.retry_after_s is None or self.status not in (429, 503):
            return []
        return [("Retry-After", str(max(1, ceil(self.retry_after_s))))]

    def body(self) -> dict[str, Any]:
        """Return the body of the response."""
        roots = [root.render(causes=False) for root in self.cause.root_causes()]
        return {"error": {"root_cause": roots, **self.cause.render()}, "status": self.status}


def error(
    status: int, type_: str, reason: str, *, caused_by: Cause | None = None, **metadata: Any
) -> ElasticsearchError:
    """Make a failure of one exception, for example ``error(404, "index_not_found_exception", "…")``."""
    return ElasticsearchError(status, Cause(type_, reason, metadata, caused_by))


def illegal_argument(reason: str, *, caused_by: Cause | None = None) -> ElasticsearchError:
    """Make an ``IllegalArgumentException``, a 400."""
    return error(400, "illegal_argument_exception", reason, caused_by=caused_by)


def status_error(status: int, reason: str) -> ElasticsearchError:
    """Make an ``ElasticsearchStatusException``."""
    return error(status, "status_exception", reason)


def rejected(reason: str, retry_after_s: float | None = None) -> ElasticsearchError:
    """Make an ``EsRejectedExecutionException``, a 429: a limit does not allow more at present."""
    return ElasticsearchError(429, Cause("es_rejected_execution_exception", reason), retry_after_s)


def internal_error() -> ElasticsearchError:
    """Make what a client gets for a defect of the proxy's, whose details are logged: a 500."""
    return error(500, "illegal_state_exception", "rerank-proxy failed; its log has the details")


def validation_error(messages: Iterable[str]) -> ElasticsearchError:
    """Make an ``ActionRequestValidationException``: all messages in one reason, numbered from 1."""
    numbered = "".join(f"{number}: {message};" for number, message in enumerate(messages, 1))
    return error(400, "action_request_validation_exception", f"Validation Failed: {numbered}")


def unsupported(what: str) -> ElasticsearchError:
    """Refuse `what`, which Elasticsearch does and this proxy does not."""
    return error(400, "unsupported_operation_exception", f"{what} is not supported by rerank-proxy yet")


def encode(body: Mapping[str, Any]) -> bytes:
    """Return compact JSON in UTF-8, as Elasticsearch prints it without `pretty`."""
    return msgspec.json.encode(body)


def reason_of(text: str) -> str:
    """Return the innermost reason of an error's body in a line; of any other text its beginning.

    UTF-8 can hold it: half of a surrogate pair, which JSON can hide in an escape, becomes a question mark.
    """
    try:
        error = json.loads(text)["error"]
        while (cause := _cause_in(error)) is not None:
            error = cause
        reason = str(error["reason"] if isinstance(error, dict) else error)
    except (KeyError, TypeError, ValueError, RecursionError):
        reason = text
    return " ".join(reason.split())[:_LONGEST_LINE].encode("utf-8", "replace").decode()


def _cause_in(error: Any) -> Any:
    """Return what caused an error. A retriever that fails only suppresses the errors of its children, and a
    search whose shards all fail lists what they say.
    """
    if not isinstance(error, dict):
        return None
    if error.get("caused_by") is None and isinstance(shards := error.get("failed_shards"), list) and shards:
        return shards[0].get("reason") if isinstance(shards[0], dict) else None
    if error.get("caused_by") is None and isinstance(suppressed := error.get("suppressed"), list):
        return next((each for each in suppressed if isinstance(each, dict) and "reason" in each), None)
    cause = error.get("caused_by")
    return cause if isinstance(cause, dict) else None


def fresh(error: _E) -> _E:
    """Return a copy of an exception to raise: a shared one would gather the tracebacks of all callers."""
    copy: _E = type(error).__new__(type(error), *error.args)
    copy.__dict__.update(error.__dict__)
    return copy
