"""The id of the request that is answered, by which all lines of the log about it are found."""

import logging
import re
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from itertools import islice
from random import Random
from typing import Final

HEADER: Final = "X-Request-ID"
MAX_LENGTH: Final = 128

_VALID: Final = re.compile(rb"[A-Za-z0-9._~:+/=@-]{1,%d}" % MAX_LENGTH)

_random: Final = Random()  # ids have to differ, not to be secret

current: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)
"""That of the request that this task answers; None outside of requests."""

FIELD: Final = "http.request.id"
"""What a record has that is about other requests than that of its task: their ids."""
_MOST: Final = 16


def about(ids: Iterable[str | None]) -> dict[str, list[str]]:
    """Return the fields of a record about several requests, of which each is named once; of many, some."""
    known = dict.fromkeys(each for each in ids if each is not None)
    return {FIELD: list(islice(known, _MOST))} if known else {}


def of_record(record: logging.LogRecord) -> Sequence[str]:
    """Return the ids of the requests that a record is about: those that it names, or that of its task."""
    named: Sequence[str] | None = record.__dict__.get(FIELD)
    if named is not None:
        return named
    own = current.get()
    return () if own is None else (own,)


def valid(value: bytes | None) -> str | None:
    """Return what a client gives as the id of its request; None if that is not valid."""
    return value.decode("ascii") if value is not None and _VALID.fullmatch(value) else None


def new() -> str:
    """Return an id for a request that brings none: 32 hexadecimal digits, as those of traces have."""
    return f"{_random.getrandbits(128):032x}"
