"""Ids of asynchronous searches that the proxy keeps itself.

Elasticsearch's ids are URL-safe base64 (``AsyncExecutionId#encode``), which has no dots: an id with a dot is
never one of Elasticsearch. In a path a dot needs no encoding.
"""

import re
import secrets
from typing import Final

_PREFIX: Final = "rerank."
_RANDOM_BYTES: Final = 24

PATTERN: Final = re.escape(_PREFIX) + r"[^/?#]*"
"""Matches an id of this proxy in a path."""

_TARGET: Final = re.compile(rf"/?_async_search/(?:status/)?{PATTERN}/*(?:[?#]|\Z)".encode())


def new_id() -> str:
    """Return a new id, which cannot be guessed."""
    return _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def names_kept_search(target: bytes) -> bool:
    """Tell whether a request target names a search that is kept here, or its status."""
    return _TARGET.match(target) is not None
