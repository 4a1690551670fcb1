"""What became of the last requests that were answered here, for the status page: no bodies, ids or names."""

import re
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from rerank_proxy.http import handover
from rerank_proxy.http.messages import Response
from rerank_proxy.observe.log_lines import short
from rerank_proxy.observe.outcome import HEADER

MOST: Final = 100
_ENDPOINTS: Final = 3
"""Endpoints of one request that are named."""
_KINDS: Final = (
    ("/_msearch/template", "msearch template"),
    ("/_search/template", "search template"),
    ("/_async_search", "async search"),
    ("/_msearch", "msearch"),
    ("/_search", "search"),
    ("/_inference", "inference"),
    ("/_ml/", "trained models"),
)
_ENDPOINT: Final = re.compile(r"; endpoint=([^;,]+)")


class _Ended(NamedTuple):
    at: float
    path: str
    status: int
    headers: Sequence[tuple[str, str]]
    seconds: float


class Recent:
    """The last requests, the oldest of which give way.

    Args:
        clock: Seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._ended: deque[_Ended] = deque(maxlen=MOST)

    def add(self, target: str, response: Response, seconds: float) -> None:
        """Take note of an answer, unless it gives the request back to the edge."""
        if response.status != handover.PASSED_ON:
            path = target.partition("?")[0]
            self._ended.append(_Ended(self._clock(), path, response.status, response.headers, seconds))

    def shown(self) -> list[dict[str, Any]]:
        """Return them, the last one first."""
        return [_shown(each) for each in reversed(self._ended)]


def _shown(ended: _Ended) -> dict[str, Any]:
    headers = {name.lower(): value for name, value in ended.headers}
    outcome = headers.get(HEADER.lower())
    endpoints = [] if outcome is None else [*dict.fromkeys(_ENDPOINT.findall(outcome))]
    return {
        "at": datetime.fromtimestamp(ended.at, UTC).isoformat(timespec="milliseconds"),
        "kind": next((kind for part, kind in _KINDS if part in ended.path), "other"),
        "outcome": None if outcome is None else _word(outcome),
        "endpoint": ", ".join(short(each) for each in endpoints[:_ENDPOINTS]) or None,
        "status": ended.status,
        "took_ms": round(ended.seconds * 1000, 3),
        "error": _error(ended.status, headers),
    }


def _word(outcome: str) -> str:
    """Return the outcome of several in a word: `skipped` if one was."""
    words = [part.partition(";")[0] for part in outcome.split(", ")]
    return "skipped" if "skipped" in words else words[0]


def _error(status: int, headers: Mapping[str, str]) -> str | None:
    """Return the type of an error; of one in upstream's words that it is upstream's."""
    if status < 400:
        return None
    return headers.get(handover.REASON, "by Elasticsearch")
