"""What a call is told that the queue does not take."""

from collections.abc import Callable

from rerank_proxy.engine.batching.room import Refusal, Room
from rerank_proxy.engine.errors import DeadlineUnreachableError, QueueFullError


def too_large(tokens: int, capacity_tokens: int) -> QueueFullError:
    """Return the error of a call that the queue could not hold if it were empty."""
    return QueueFullError(
        f"the texts have {tokens} tokens, more than engine.queue_tokens ({capacity_tokens}): "
        "score fewer texts at once, for example with a smaller rank_window_size, or raise the setting"
    )


def check_room(room: Room, caller: bytes, tokens: int, wait_s: Callable[[int], float]) -> None:
    """Check that a caller may queue so many tokens now.

    Args:
        wait_s: Returns in how many seconds so many tokens have probably run.

    Raises:
        QueueFullError: There is no room; the message says whose limit was reached.
    """
    match room.refusal(caller, tokens):
        case Refusal.OF_CALLER:
            raise QueueFullError(
                f"the queue holds {room.held_by(caller)} tokens of this caller, and others wait: one caller "
                f"may have {room.limit} of {room.capacity} tokens then (engine.queue_share); send fewer "
                "searches at a time, or try again later",
                wait_s(tokens),
            )
        case Refusal.OF_ALL:
            raise QueueFullError(
                f"the queue is full: {room.held} of {room.capacity} tokens (engine.queue_tokens) wait; "
                "try again later",
                wait_s(max(1, room.held + tokens - room.capacity)),
            )


def unreachable(tokens: float, own_s: float, ahead_s: float, left_s: float) -> DeadlineUnreachableError:
    """Return the error of a call that cannot be done by its deadline.

    Args:
        own_s: Seconds that its own tokens take.
        ahead_s: Seconds that others take before.
        left_s: Seconds until the deadline.
    """
    # Where the work ahead is not the reason, trying again later does not help.
    retry_after_s = ahead_s + own_s - left_s if own_s <= left_s else None
    return DeadlineUnreachableError(
        f"the scores would take some {ahead_s + own_s:.0f} s, and there are {max(left_s, 0):.1f} s: "
        f"the texts have about {tokens:.0f} tokens, which take {own_s:.0f} s, and what is scored before "
        f"them takes {ahead_s:.0f} s; use a smaller rank_window_size or a longer time limit"
        + ("" if retry_after_s is None else ", or try again later"),
        retry_after_s,
    )
