"""Temporary files and directories that are removed also when the process that made them was killed.

The owner holds a lock (flock) on each as long as it lives, and the system lets go of it however the owner
ends: what is unlocked has no owner any more. A process id would prove nothing, since another process may have
it by then. systemd-tmpfiles leaves alone what is locked so, too.
"""

import errno
import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

_RANDOM: Final = re.compile(r"[a-z0-9_]{8}")
"""What `tempfile` puts behind a prefix."""
_WITHOUT_LOCKS: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
"""Errors of file systems that have no such locks, where nothing is ever taken for a leftover."""


class OwnedDirectory:
    """A directory that this process makes for itself and its user; a context manager that removes it.

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


def owned_file(parent: Path, prefix: str) -> tuple[int, Path]:
    """Make a file for this user alone: its descriptor, which holds the lock until it is closed, and its path.

    Raises:
        OSError: It cannot be made.
    """
    return _locked(lambda: tempfile.mkstemp(prefix=prefix, dir=parent))


def remove_leftovers(parent: Path, prefix: str) -> None:
    """Remove the directories and files that were made with this prefix and have no owner any more.

    Only what belongs to this user is looked at, and no link is followed. What cannot be removed stays.
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
        # Between making and locking it had no owner, and another process may have removed it.
        if _is_still(path, descriptor):
            return descriptor, path
        os.close(descriptor)


def _remove_unowned(path: Path) -> None:
    """Raises OSError when it has an owner (`BlockingIOError`), or cannot be removed."""
    if not _is_ours(path.lstat()):
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not (_is_ours(os.fstat(descriptor)) and _is_still(path, descriptor)):
            return
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            shutil.rmtree(path)
        else:
            path.unlink()
    finally:
        os.close(descriptor)


def _is_ours(status: os.stat_result) -> bool:
    kind = stat.S_IFMT(status.st_mode)
    return status.st_uid == os.geteuid() and kind in (stat.S_IFDIR, stat.S_IFREG)


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the path leads to what the descriptor is."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
