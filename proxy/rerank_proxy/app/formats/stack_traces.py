"""`error_trace`: each error in an error body tells where it came from."""

from collections.abc import Mapping
from typing import Any, Final

_JAVA: Final = {
    "illegal_argument_exception": "java.lang.IllegalArgumentException",
    "illegal_state_exception": "java.lang.IllegalStateException",
    "null_pointer_exception": "java.lang.NullPointerException",
    "number_format_exception": "java.lang.NumberFormatException",
}
_FRAME: Final = "\tat rerank-proxy\n"


def with_stack_traces(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body with a `stack_trace` in each of its errors, where ``ElasticsearchException`` prints it.

    The proxy has no Java frames to show: a trace names the errors and their causes.

    Args:
        body: As ``ElasticsearchError.body()`` gives it. Errors that are a mere string stay.
    """
    return {name: _traced(value) if name == "error" else value for name, value in body.items()}


def _traced(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_traced(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    members = {name: _traced(item) for name, item in value.items()}
    if "type" not in value or "reason" not in value:
        return members
    suppressed = {name: members.pop(name) for name in ("suppressed",) if name in members}
    return {**members, "stack_trace": _trace(value), **suppressed}


def _trace(error: Mapping[str, Any]) -> str:
    lines = f"{_class_name(error['type'])}: {error['reason']}\n{_FRAME}"
    for each in error.get("suppressed", ()):
        lines += "".join(f"\t{line}\n" for line in f"Suppressed: {_trace(each)}".splitlines())
    cause = error.get("caused_by")
    return lines + (f"Caused by: {_trace(cause)}" if cause is not None else "")


def _class_name(type_: str) -> str:
    return _JAVA.get(type_) or "".join(word.capitalize() for word in type_.split("_"))
