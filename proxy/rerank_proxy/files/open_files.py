"""The limit of open files, and how the edge divides what it allows."""

import resource
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

RESERVED: Final = 128
"""Files of the process itself, of the admin port, and of its requests to the application."""
_IDLE_PART: Final = 8
"""The divisor of the remaining files that gives the idle connections of one pool."""


@dataclass(frozen=True, slots=True)
class Shares:
    """How many connections there may be.

    Attributes:
        clients: Client connections. Each may need a second file, to pass its request on.
        idle: Idle connections that are kept to one target.
    """

    clients: int
    idle: int


def raise_limit() -> None:
    """Raise the soft limit of this process, which those it starts inherit, to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):  # macOS has no unlimited soft limit: keep the present one
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def open_files() -> int | None:
    """Return how many files this process may have open, or None when that is unlimited."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def share(files: int | None, max_connections: int, max_idle: int) -> Shares:
    """Divide the files that may be open: clients, their requests, and connections kept to two targets."""
    if files is None:
        return Shares(max_connections, max_idle)
    free = max(files - RESERVED, 0)
    idle = min(max_idle, free // _IDLE_PART)
    return Shares(max(min(max_connections, (free - 2 * idle) // 2), 1), idle)
