"""Lines of the log as JSON: each is an object with the names of the Elastic Common Schema (ECS).

Everything in a line is bounded, and escaped as in lines for people: a record is one line whatever it holds.
"""

import copy
import logging
import os
import reprlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from ecs_logging import StdlibFormatter

from rerank_proxy import __version__
from rerank_proxy.observe import request_id, stages
from rerank_proxy.observe.events import ECS_VERSION, LOG, NAMESPACE, SERVICE
from rerank_proxy.observe.log_lines import message_of, one_line, short, traceback_lines
from rerank_proxy.observe.log_times import utc_time

_MAX_ITEMS: Final = 64
_OURS: Final = ("event.", f"{NAMESPACE}.", "error.", "http.", "process.", "trace.", "url.", "user.")
"""What the names of fields begin with that records may bring. Those of libraries are left out: they could be
of another type than Elasticsearch has learnt for the name.
"""


class EcsFormatter(StdlibFormatter):
    """Formats a record as one JSON object.

    Args:
        process: The name of this process.
    """

    def __init__(self, process: str) -> None:
        super().__init__(exclude_fields=["log.original"])
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        # The library adds fields to the record, which other handlers have, too. It refuses a record whose
        # fields take the place of its own, as those about another process do.
        plain = copy.copy(record)
        known = record.__dict__.items()
        plain.__dict__ = {name: value for name, value in known if name in self._LOGRECORD_DICT}
        plain.msg, plain.args = one_line(message_of(record)), None
        plain.processName = self._process
        fields = {**service(), **self.format_to_ecs(plain)}
        for name, value in known:
            if name.startswith(_OURS):
                _put(fields, name.split("."), bounded(value))
        if record.exc_info or record.stack_info:
            _put(fields, ["error", "stack_trace"], "\n".join(traceback_lines(record)))
        return encoded(fields)

    def format_to_ecs(self, record: logging.LogRecord) -> dict[str, Any]:
        fields: dict[str, Any] = bounded(super().format_to_ecs(record))
        _put(fields, ["event", "dataset"], LOG)
        if (current := request_id.current.get()) is not None:
            _put(fields, ["http", "request", "id"], current)
        if (trace_id := stages.current().trace_id) is not None:
            _put(fields, ["trace", "id"], trace_id)
        return fields

    def _record_error_message(self, record: logging.LogRecord) -> str | None:
        error = record.exc_info[1] if record.exc_info else None
        try:
            return None if error is None else str(error)
        except Exception:  # raised by the exception's own methods
            return None

    def _record_error_stack_trace(self, record: logging.LogRecord) -> str | None:
        """Leave it out here: the library shows neither causes nor notes of an exception."""
        return None


def _put(fields: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Put a value at a path, whatever is there."""
    *above, last = path
    for name in above:
        inner = fields.get(name)
        if not isinstance(inner, dict):
            inner = fields[name] = {}
        fields = inner
    fields[last] = value


def service() -> dict[str, Any]:
    """Return the fields that say which program writes."""
    return {"service": {"name": SERVICE, "version": __version__}}


def line(
    process: str, level: str, message: str, dataset: str, fields: Mapping[str, Any], at: float | None = None
) -> str:
    """Return a line that is not made of a record.

    Args:
        fields: Nested, and bounded by the caller. `event` and `process` may hold further fields.
        at: UNIX time; None for now.
    """
    own: dict[str, Any] = {
        "@timestamp": utc_time(time.time() if at is None else at),
        "log": {"level": level},
        "message": message,
        "ecs.version": ECS_VERSION,
        **service(),
        **fields,
        "process": {"name": process, "pid": os.getpid(), **fields.get("process", {})},
        "event": {"dataset": dataset, **fields.get("event", {})},
    }
    return encoded(own)


def encoded(fields: Mapping[str, Any]) -> str:
    """Return an object as JSON in one line."""
    return msgspec.json.encode(fields).decode()


def bounded(value: Any, depth: int = 6) -> Any:
    """Return a value of a record's as JSON can hold it, with a bound for each text and list."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return one_line(value)
    if depth and isinstance(value, Mapping):
        return {short(str(name)): bounded(each, depth - 1) for name, each in list(value.items())[:_MAX_ITEMS]}
    if depth and isinstance(value, list | tuple):
        return [bounded(each, depth - 1) for each in value[:_MAX_ITEMS]]
    return one_line(reprlib.repr(value))
