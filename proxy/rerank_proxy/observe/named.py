"""What a request names itself by in its headers: an id, the client's own name for it, and its trace."""

import re
from functools import lru_cache
from typing import Final, NamedTuple

from rerank_proxy.observe import request_id
from rerank_proxy.observe.log_lines import short
from rerank_proxy.observe.trace_context import trace_id

_FIELDS: Final = re.compile(rb"\n(x-request-id|x-opaque-id|traceparent):[\t ]*([^\r\n]*)", re.IGNORECASE)


class Named(NamedTuple):
    """What a request says about itself.

    Attributes:
        request_id: Its `X-Request-ID`, if it is valid.
        opaque_id: Its `X-Opaque-Id`, safe to be logged.
        trace_id: Of its `traceparent`, if that is valid.
    """

    request_id: str | None = None
    opaque_id: str | None = None
    trace_id: str | None = None


_NOTHING: Final = Named()
_REMEMBERED: Final = 256


@lru_cache(_REMEMBERED)
def named(head: bytes) -> Named:
    """Return what the fields of a head say. Of one that is given more than once the first one counts, but a
    `traceparent` that is given more than once says nothing.

    A client sends most of its requests with the same fields.
    """
    fields = [(name.lower(), value.rstrip(b"\t ")) for name, value in _FIELDS.findall(head)]
    if not fields:
        return _NOTHING
    first = dict(reversed(fields))
    opaque_id = first.get(b"x-opaque-id")
    return Named(
        request_id.valid(first.get(b"x-request-id")),
        None if opaque_id is None else short(opaque_id.decode("utf-8", "backslashreplace")),
        trace_id(fields),
    )
