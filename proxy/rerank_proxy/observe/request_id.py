"""The id of the request that is answered, by which all lines of the log about it are found."""

import re
from contextvars import ContextVar
from random import Random
from typing import Final

HEADER: Final = "X-Request-ID"
MAX_LENGTH: Final = 128

_VALID: Final = re.compile(rb"[A-Za-z0-9._~:+/=@-]{1,%d}" % MAX_LENGTH)

_random: Final = Random()  # ids have to differ, not to be secret

current: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)
"""That of the request that this task answers; None outside of requests."""


def valid(value: bytes | None) -> str | None:
    """Return what a client gives as the id of its request; None if that is not valid."""
    return value.decode("ascii") if value is not None and _VALID.fullmatch(value) else None


def new() -> str:
    """Return an id for a request that brings none: 32 hexadecimal digits, as those of traces have."""
    return f"{_random.getrandbits(128):032x}"
