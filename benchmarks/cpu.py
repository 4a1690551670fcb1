"""The processor time of other processes, which other work on the machine affects less than elapsed time."""

from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")


def cpu_ms(pid: int) -> float | None:
    """Return the milliseconds that the threads of a process have run; None if the system does
    not show them.
    """
    threads = list(_PROC.glob(f"{pid}/task/*/schedstat"))
    if not threads:
        return None
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e6


def ticks(pid: int) -> tuple[int, int]:
    """Return the time that a process has run, as a user and in the system, in ticks of the system's clock."""
    fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return int(fields[11]), int(fields[12])


def children(pid: int) -> list[int]:
    """Return the children of a process; an empty list if the system does not show them."""
    listed = _PROC / str(pid) / "task" / str(pid) / "children"
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []
