"""What the application tells the edge about an answer, in headers that no client gets to see."""

import re
from typing import Final, NamedTuple

from rerank_proxy.http import grammar, handover
from rerank_proxy.observe.access_log import MAX_OUTCOME
from rerank_proxy.observe.log_lines import short
from rerank_proxy.observe.outcome import HEADER

_OUTCOME: Final = HEADER.lower().encode()
_TIMES: Final = handover.TIMES.encode()
_REASON: Final = handover.REASON.encode()
_PREFIX: Final = handover.HEADER.encode()
_LINES: Final = re.compile(rb"(?im)^%b[a-z-]*:[^\r]*\r\n" % _PREFIX)


class Told(NamedTuple):
    """What the application says.

    Attributes:
        outcome: The `X-Rerank`, which clients get, too.
        reason: The type of the error that it answers with.
        times: Seconds by stage.
    """

    outcome: str | None
    reason: str | None
    times: dict[str, float]


def told(head: bytes) -> Told:
    """Return what the head of an answer of the application's says."""
    outcome, reason = grammar.field_of(head, _OUTCOME), grammar.field_of(head, _REASON)
    return Told(
        None if outcome is None else short(outcome.decode("ascii", "backslashreplace"), MAX_OUTCOME),
        None if reason is None else short(reason.decode("ascii", "backslashreplace")),
        handover.read_times((grammar.field_of(head, _TIMES) or b"").decode("ascii", "replace")),
    )


def for_client(head: bytes) -> bytes:
    """Return the head of an answer without what is meant for the edge alone."""
    return _LINES.sub(b"", head) if _PREFIX in head else head
