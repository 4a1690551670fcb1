"""Ids of asynchronous searches that this proxy keeps itself.

Elasticsearch's ids are URL-safe base64 (``AsyncExecutionId#encode``), which has no dot: an id with one is
never Elasticsearch's. In a path a dot needs no encoding.
"""

import re
import secrets
from typing import Final

_PREFIX: Final = "rerank."
_RANDOM_BYTES: Final = 24

PATTERN: Final = re.escape(_PREFIX) + r"[^/?#]*"
"""Ids of ours, as they stand in a path."""

_TARGET: Final = re.compile(rf"/?_async_search/(?:status/)?{PATTERN}/*(?:[?#]|\Z)".encode())


def new_id() -> str:
    """An id that nobody can guess."""
    return _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def names_ours(target: bytes) -> bool:
    """Whether a request target is that of a search kept here, or of its status."""
    return _TARGET.match(target) is not None
