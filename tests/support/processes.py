"""Whether other processes run."""

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
