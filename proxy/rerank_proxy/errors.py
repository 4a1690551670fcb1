"""Errors as Elasticsearch prints them.

The shape and the choice of ``root_cause`` follow ``org.elasticsearch.ElasticsearchException``
(``generateFailureXContent``, ``guessRootCauses``).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

_XCONTENT = frozenset(
    {"x_content_parse_exception", "named_object_not_found_exception", "x_content_e_o_f_exception"}
)
# Types that are plain Java exceptions: they are never looked into, or promoted, for a root cause.
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


MAX_REASON: Final = 50_000
"""Characters. A reason often repeats what the client wrote, which may be a hundred megabytes."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One exception in an error body: `type` in Elasticsearch's snake case, `metadata` in print order.

    Of a reason longer than `MAX_REASON` the beginning and the end are kept.
    """

    type: str
    reason: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    caused_by: "Cause | None" = None
    suppressed: tuple["Cause", ...] = ()
    has_reason: bool = True
    """Not so for an exception that was thrown without a message: its reason is printed as null."""

    def __post_init__(self) -> None:
        if len(self.reason) > MAX_REASON:
            half = MAX_REASON // 2
            object.__setattr__(self, "reason", f"{self.reason[:half]}…{self.reason[-half:]}")

    def root_causes(self) -> list["Cause"]:
        """The innermost exceptions that Elasticsearch would name under `root_cause`."""
        inner = self.caused_by
        if inner is None or self.type in _JAVA:
            return [self]
        if self.type == _SEARCH_FAILURE and not self.metadata.get("failed_shards", True):
            return []  # they are the causes of its shards
        descends = inner.type not in _JAVA and (self.type in _XCONTENT or inner.type not in _XCONTENT)
        return inner.root_causes() if descends else [self]

    def render(self, *, causes: bool = True) -> dict[str, Any]:
        """The JSON object of this exception; without `caused_by` at any depth unless `causes`."""
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
    """Also the exceptions of shards, which are metadata, lose their causes there."""
    if isinstance(value, Mapping):
        return {name: _without_causes(item) for name, item in value.items() if name != "caused_by"}
    if isinstance(value, list):
        return [_without_causes(item) for item in value]
    return value


class ElasticsearchError(Exception):
    """A failure that the client sees as Elasticsearch's own.

    Args:
        status: HTTP status, unit-less, 400 to 599.
        cause: The outermost exception of the body.
    """

    def __init__(self, status: int, cause: Cause) -> None:
        super().__init__(cause.reason)
        self.status = status
        self.cause = cause

    def body(self) -> dict[str, Any]:
        roots = [root.render(causes=False) for root in self.cause.root_causes()]
        return {"error": {"root_cause": roots, **self.cause.render()}, "status": self.status}


def error(
    status: int, type_: str, reason: str, *, caused_by: Cause | None = None, **metadata: Any
) -> ElasticsearchError:
    """A failure with one exception, for example ``error(429, "es_rejected_execution_exception", "…")``."""
    return ElasticsearchError(status, Cause(type_, reason, metadata, caused_by))


def internal_error() -> ElasticsearchError:
    """Return what a client is told of a defect of the proxy's, whose details are logged."""
    return error(500, "illegal_state_exception", "rerank-proxy failed; its log has the details")


def validation_error(messages: Iterable[str]) -> ElasticsearchError:
    """``ActionRequestValidationException``: all messages in one reason, numbered from 1."""
    numbered = "".join(f"{number}: {message};" for number, message in enumerate(messages, 1))
    return error(400, "action_request_validation_exception", f"Validation Failed: {numbered}")


def encode(body: Mapping[str, Any]) -> bytes:
    """Compact JSON in UTF-8, as Elasticsearch prints without `pretty`."""
    return msgspec.json.encode(body)
