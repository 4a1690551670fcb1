"""How many processes the kernel has killed for lack of memory, in this process's control group.

Its children are in the same group. A process that was killed by SIGKILL leaves nothing behind that says who
sent it, but the group's counter has risen if it was the kernel.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_GROUPS: Final = "proc/self/cgroup"
_MOUNT: Final = "sys/fs/cgroup"
_COUNTER: Final = "oom_kill"


def memory_kills(root: Path = Path("/")) -> int | None:
    """Return the number since the group was made; None where it cannot be read.

    Args:
        root: Where `/proc` and `/sys` are.
    """
    for file in _files(root):
        with suppress(OSError, ValueError):
            for line in file.read_text(encoding="utf-8").splitlines():
                name, _, value = line.partition(" ")
                if name == _COUNTER:
                    return int(value)
    return None


def _files(root: Path) -> Iterator[Path]:
    """Yield where the counter may be: with version 2 of control groups, or 1.

    In a container the group is often the root of what is mounted there, whatever its path outside is.
    """
    try:
        lines = (root / _GROUPS).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if "memory" in controllers.split(","):
            mount, name = root / _MOUNT / "memory", "memory.oom_control"
        elif controllers == "":
            mount, name = root / _MOUNT, "memory.events"
        else:
            continue
        yield mount / path.lstrip("/") / name
        yield mount / name
