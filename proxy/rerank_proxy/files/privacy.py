"""Find what other users of the machine could do to a file."""

import os
import stat
from pathlib import Path


def weaknesses(path: Path, forbidden: int) -> list[str]:
    """Return what others could do to a file or directory, a sentence each.

    Args:
        forbidden: Rights of the group and of others that it should not give.
    """
    try:
        status = path.stat()
    except OSError:
        return []
    found = []
    if status.st_uid not in (os.geteuid(), 0):
        found.append(f"{path} belongs to another user (id {status.st_uid}) than the proxy runs as")
    given = status.st_mode & forbidden
    if given:
        deeds = " and ".join(deed for bits, deed in ((0o044, "read"), (0o022, "written")) if given & bits)
        who = "every user of this machine" if given & 0o007 else "users of its group"
        cure = f"chmod {'go-rwx' if forbidden & 0o044 else 'go-w'}"
        found.append(f"{path} can be {deeds} by {who}; {cure} takes that back")
    return found


def weaknesses_above(path: Path) -> list[str]:
    """Return which directories above let every user put another in the place of this one."""
    found = []
    for directory in Path(os.path.realpath(path)).parents:
        try:
            mode = directory.stat().st_mode
        except OSError:
            continue
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            found.append(f"{directory}, above {path}, can be written by every user of this machine")
    return found
