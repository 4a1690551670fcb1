"""Processor time of other processes: it depends less than time on the clock on what else a machine does."""

from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")


def cpu_ms(pid: int) -> float | None:
    """Milliseconds that the living threads of a process have run; None where the system does not tell."""
    threads = list(_PROC.glob(f"{pid}/task/*/schedstat"))
    if not threads:
        return None
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e6


def children(pid: int) -> list[int]:
    """The processes that a process has started; none where the system does not tell."""
    listed = _PROC / str(pid) / "task" / str(pid) / "children"
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []
