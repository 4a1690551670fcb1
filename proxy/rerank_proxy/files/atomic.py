"""Replace files atomically: a file is whole at every moment.

A symbolic link is followed: what is written takes the place of the file that it leads to. One that leads
nowhere is not a missing file but, for example, a volume that is not mounted, and is refused.
"""

import os
from pathlib import Path

from rerank_proxy.files.leftovers import owned_file, remove_leftovers
from rerank_proxy.files.regular import refuse_dead_links


def replace(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace the content of a file: a reader, or a start after a power failure, finds all of the old or all
    of the new.

    Args:
        mode: Of the new file, less the umask.

    Raises:
        OSError, UnfitFileError: It cannot be written; the file is as it was.
    """
    place = target(path)
    descriptor, temporary = owned_file(place.parent, _prefix(place), mode)
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


def target(path: Path) -> Path:
    """Return the file that a path leads to, which need not exist.

    Raises:
        UnfitFileError: A symbolic link on the way leads nowhere.
    """
    refuse_dead_links(path)
    return Path(os.path.realpath(path))


def _prefix(path: Path) -> str:
    return f".{path.name}.new-"


def _sync_directory(path: Path) -> None:
    """Flush a directory: without it a power failure may undo a rename that has been reported."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
