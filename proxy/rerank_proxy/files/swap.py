"""Put a directory in the place of another one, so that at every moment there is a whole one.

Linux exchanges two names in one step (renameat2). Where that cannot be done, by the system or by the file
system, the former directory is renamed first; a process that dies before the new one has its name leaves it
beside the place, where `restore` finds it.
"""

import ctypes
import os
import shutil
import sys
from pathlib import Path
from typing import Any, Final

_AT_FDCWD: Final = -100
_EXCHANGE: Final = 2


def take_place(new: Path, place: Path) -> None:
    """Give a directory the name of another, on the same file system, and remove what had it.

    Raises:
        OSError: It cannot be done; what was in the place is there, or `restore` puts it there again.
    """
    if not place.exists():
        new.rename(place)
        return
    if _exchanged(new, place):
        shutil.rmtree(new, ignore_errors=True)
        return
    former = _former(place)
    shutil.rmtree(former, ignore_errors=True)
    place.rename(former)
    try:
        new.rename(place)
    except OSError:
        former.rename(place)
        raise
    shutil.rmtree(former, ignore_errors=True)


def restore(place: Path) -> None:
    """Give a directory its name again, if a process has died while another one took its place.

    Raises:
        OSError: It cannot be renamed.
    """
    former = _former(place)
    if former.is_dir() and not place.exists():
        former.rename(place)


def _former(place: Path) -> Path:
    return place.with_name(f".{place.name}.former")


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two names in one step; return False if that cannot be done here."""
    library: Any = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    rename = getattr(library, "renameat2", None)
    if rename is None:
        return False
    names = (os.fsencode(one), os.fsencode(other))
    return bool(rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE) == 0)
