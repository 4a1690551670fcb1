"""Read files safely: only regular ones are opened, and no more is read than a caller expects."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Final

Stamp = tuple[int, int, int]

_KINDS: Final = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class UnfitFileError(ValueError):
    """A file that cannot be used.

    The message names the file without its directory: clients see it. `problem` is the message without the
    name.
    """

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path.name}: {problem}")
        self.problem = problem


class TooLargeFileError(UnfitFileError):
    """A file that has more bytes than it may have."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        super().__init__(path, f"is larger than {max_bytes} bytes")


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """Open a regular file for reading. Never waits, as opening a named pipe would.

    Raises:
        OSError: It cannot be opened.
        UnfitFileError: It is not a regular file.
    """
    check_regular(path, os.stat(path))  # a socket cannot be opened at all
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with open(descriptor, "rb") as file:
        check_regular(path, os.fstat(descriptor))
        yield file


def read(path: Path, max_bytes: int) -> bytes:
    """Return all of a regular file.

    Raises:
        OSError: It cannot be read.
        UnfitFileError: It is not a regular file, or is larger than `max_bytes`.
    """
    with opened(path) as file:
        if os.fstat(file.fileno()).st_size <= max_bytes:
            content = file.read(max_bytes + 1) or b""  # it may be growing; one of /proc may have nothing yet
            if len(content) <= max_bytes:
                return content
    raise TooLargeFileError(path, max_bytes)


def read_if_exists(path: Path, max_bytes: int) -> bytes | None:
    """Return all of a regular file, or None when there is none.

    Raises:
        OSError: It cannot be read.
        UnfitFileError: It is not a regular file, is larger, or a symbolic link leads nowhere.
    """
    try:
        return read(path, max_bytes)
    except FileNotFoundError:
        refuse_dead_links(path)
        return None


def check_regular(path: Path, status: os.stat_result) -> None:
    """Refuse what is not a regular file.

    Raises:
        UnfitFileError: It is something else.
    """
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise UnfitFileError(path, f"is {kind}, not a file")


def refuse_dead_links(path: Path) -> None:
    """Refuse a path with a symbolic link that leads nowhere: its target may be a volume that is not mounted.

    Raises:
        UnfitFileError: There is one.
    """
    for each in (path, *path.parents):
        if each.is_symlink() and not each.exists():
            raise UnfitFileError(
                each, "is a symbolic link to what is not there; mount or restore that, or remove the link"
            )


def stamp(path: Path) -> Stamp | None:
    """Return what tells a file from its successors; None when there is none.

    Raises:
        OSError: Its status cannot be read.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
