"""Temporary files and directories that are removed even if the process that made them was killed.

The owner holds a lock (flock) on each as long as it lives, and the system releases it however the owner ends:
what is unlocked has no owner any more. The lock marks ownership; for mutual exclusion the proxy uses the
library filelock. A process id would prove nothing, since another process may have it by then.
systemd-tmpfiles also leaves alone what is locked in this way.
"""

import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

_RANDOM: Final = re.compile(r"[a-z0-9_]{8}")
"""What follows a prefix: as `tempfile` makes it."""
_WITHOUT_LOCKS: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
"""Errors of file systems that have no such locks, where nothing is ever taken for a leftover."""


class OwnedDirectory:
    """A directory of this process, for its user alone; a context manager that removes it.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, parent: Path, prefix: str) -> None:
        def make() -> tuple[int, str]:
            while True:
                path = tempfile.mkdtemp(prefix=prefix, dir=parent)
                with suppress(FileNotFoundError):  # removed already: see `_locked`
                    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW), path

        self._descriptor, self.path = _locked(make)

    def remove(self) -> None:
        """Remove it with all that is in it. May be called again."""
        if self._descriptor >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.remove()


def owned_file(parent: Path, prefix: str, mode: int = 0o600) -> tuple[int, Path]:
    """Make a file of this process. Return its descriptor, which holds the lock while open, and its path.

    Args:
        mode: Of the file, less the umask.

    Raises:
        OSError: It cannot be made.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

    def make() -> tuple[int, str]:
        while True:
            path = parent / f"{prefix}{secrets.token_hex(4)}"
            with suppress(FileExistsError):
                return os.open(path, flags, mode), str(path)

    return _locked(make)


def remove_leftovers(parent: Path, prefix: str) -> None:
    """Remove the directories and files that were made with this prefix and have no owner any more.

    Touches only what belongs to this user, and follows no link. What cannot be removed stays.
    """
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith(prefix) and _RANDOM.fullmatch(name, len(prefix)):
                with suppress(OSError):
                    _remove_unowned(Path(entry.path))


def _locked(make: Callable[[], tuple[int, str]]) -> tuple[int, Path]:
    while True:
        descriptor, name = make()
        path = Path(name)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _WITHOUT_LOCKS:
                os.close(descriptor)
                raise
        # Before it was locked it had no owner, and another process may have removed it.
        if _is_still(path, descriptor):
            return descriptor, path
        os.close(descriptor)


def _remove_unowned(path: Path) -> None:
    """Remove a file or directory. Raise OSError if it has an owner (`BlockingIOError`) or cannot go."""
    if not _belongs_to_this_user(path.lstat()):
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not (_belongs_to_this_user(os.fstat(descriptor)) and _is_still(path, descriptor)):
            return
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            shutil.rmtree(path)
        else:
            path.unlink()
    finally:
        os.close(descriptor)


def _belongs_to_this_user(status: os.stat_result) -> bool:
    """Return whether it is a file or directory of this user."""
    kind = stat.S_IFMT(status.st_mode)
    return status.st_uid == os.geteuid() and kind in (stat.S_IFDIR, stat.S_IFREG)


def _is_still(path: Path, descriptor: int) -> bool:
    """Return whether the path leads to what the descriptor is."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
