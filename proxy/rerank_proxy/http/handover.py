"""What edge and application say to each other about a request that the edge holds, in headers.

All of their names begin with `HEADER`. What clients and upstream send by such names does not count: the edge
leaves a client's out of what it sends on, the application drops upstream's, and the edge takes the
application's out of what the client gets.
"""

from collections.abc import Mapping
from math import isfinite
from typing import Final

HEADER: Final = "x-rerank-proxy"

PASSED_ON: Final = 421
"""The status of an answer of the application's that gives the request back to the edge."""
PASS: Final = "pass"
"""Of an answer of the application's: the request is upstream's, as it came."""
TRY: Final = "try"
"""The same, but if upstream answers 403, the application wants to look at the request again: upstream may no
longer have the licence that it had.
"""
REFUSED: Final = "refused"
"""Of a request: upstream has answered 403 to it."""

REQUEST_ID: Final = f"{HEADER}-request-id"
"""Of a request: its id, by which the lines of the log about it are found."""
TIMES: Final = f"{HEADER}-times"
"""Of an answer: the seconds of each stage, as `STAGE=SECONDS` with commas between."""
REASON: Final = f"{HEADER}-reason"
"""Of an answer that is an error of the application's: its type."""
TRACE: Final = f"{HEADER}-trace"
"""Of an answer: the id of its trace, where that is recorded; the client may not have begun one."""

RECORD: Final = "x-rerank-record"
"""Of a client's request: the key of its recording (`observe.recording`). The edge sends it to the application
alone.
"""

_MAX_STAGES: Final = 16


def print_times(times: Mapping[str, float]) -> str:
    """Return the value of `TIMES`."""
    return ",".join(f"{stage}={seconds:.6f}" for stage, seconds in times.items())


def read_times(value: str) -> dict[str, float]:
    """Return the seconds by stage in a value of `TIMES`; what cannot be read is left out."""
    times: dict[str, float] = {}
    for pair in value.split(",")[:_MAX_STAGES]:
        stage, _, seconds = pair.partition("=")
        try:
            read = float(seconds)
        except ValueError:
            continue
        if stage.isidentifier() and isfinite(read) and read >= 0:
            times[stage] = read
    return times
