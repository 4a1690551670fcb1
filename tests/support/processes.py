"""Which other processes run."""

from pathlib import Path


def is_running(pid: int) -> bool:
    """Zombies do not run."""
    return state(pid) not in ("Z", "")


def state(pid: int) -> str:
    """Return the state that the system tells, such as `T` for stopped; nothing when there is no process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def children(pid: int) -> list[int]:
    """Return the processes that it has started and that still run."""
    return [
        int(each.name)
        for each in Path("/proc").iterdir()
        if each.name.isdigit() and _parent(each) == pid and is_running(int(each.name))
    ]


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
