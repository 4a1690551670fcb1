"""Files that are whole at every moment, for their owner alone.

A symbolic link is followed: what is written takes the place of the file that it leads to. One that leads
nowhere is no file that is missing, but, for example, a volume that is not mounted, and is refused.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rerank_proxy.files.leftovers import owned_file, remove_leftovers
from rerank_proxy.settings import InvalidSettingsError, Settings

Stamp = tuple[int, int, int]

_KINDS: Final = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class UnfitFileError(ValueError):
    """What is there cannot be used.

    The message names the file, but no directory: clients see it. `problem` is the message without the name.
    """

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path.name}: {problem}")
        self.problem = problem


def state_directory(settings: Settings, environ: Mapping[str, str] = os.environ) -> Path:
    """Where what outlives the process is kept (XDG Base Directory Specification).

    Raises:
        InvalidSettingsError: The settings name none, and there is no home directory.
    """
    if settings.state_dir is not None:
        return settings.state_dir
    home = environ.get("XDG_STATE_HOME", "")
    try:
        # The specification has relative paths ignored.
        parent = Path(home) if os.path.isabs(home) else Path("~/.local/state").expanduser()
    except RuntimeError:
        raise InvalidSettingsError("[state_dir]: there is no home directory; name a directory") from None
    return parent / "rerank-proxy"


def make_private_directory(path: Path) -> None:
    """Make it, if need be, for its owner alone; directories above it as the system makes them.

    Raises:
        OSError, UnfitFileError: It cannot be made.
    """
    _refuse_dead_links(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)


def read(path: Path, max_bytes: int) -> bytes | None:
    """Return what a file holds; None when there is none.

    Raises:
        OSError: It cannot be read.
        UnfitFileError: It is larger, or no file.
    """
    try:
        # Without O_NONBLOCK a FIFO would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        _refuse_dead_links(path)
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnfitFileError(path, f"is {_KINDS.get(stat.S_IFMT(status.st_mode), 'something')}, no file")
        if status.st_size <= max_bytes:
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(max_bytes + 1)  # it may be growing
            if len(content) <= max_bytes:
                return content
    finally:
        os.close(descriptor)
    raise UnfitFileError(path, f"is larger than {max_bytes} bytes")


def stamp(path: Path) -> Stamp | None:
    """Return what tells a file from its successors; None when there is none.

    Raises:
        OSError: It cannot be looked at.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def target(path: Path) -> Path:
    """Return the file that a path leads to, which need not exist.

    Raises:
        UnfitFileError: A symbolic link on the way leads nowhere.
    """
    _refuse_dead_links(path)
    return Path(os.path.realpath(path))


def replace(path: Path, content: bytes) -> None:
    """Put `content` in the place of the file: a reader, or a start after a power failure, finds all of
    the old or all of the new.

    Raises:
        OSError, UnfitFileError: It cannot be written; the file is as it was.
    """
    place = target(path)
    descriptor, temporary = owned_file(place.parent, _prefix(place))  # mode 0600
    with open(descriptor, "wb") as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, place)
        except BaseException:
            temporary.unlink()
            raise
    _sync_directory(place.parent)


def remove_half_written(path: Path) -> None:
    """Remove what a process that was killed in `replace` has left beside the file."""
    place = target(path)
    remove_leftovers(place.parent, _prefix(place))


def weaknesses(path: Path, forbidden: int) -> list[str]:
    """Return what others could do to a file or directory, a sentence each; none when there is none.

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


def _refuse_dead_links(path: Path) -> None:
    for each in (path, *path.parents):
        if each.is_symlink() and not each.exists():
            raise UnfitFileError(
                each, "is a symbolic link to what is not there; mount or restore that, or remove the link"
            )


def _prefix(path: Path) -> str:
    return f".{path.name}.new-"


def _sync_directory(path: Path) -> None:
    """Without it a power failure may undo a rename that has been reported."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
