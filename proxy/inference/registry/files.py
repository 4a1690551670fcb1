"""Files that are whole at every moment, for their owner alone."""

import os
from collections.abc import Mapping
from pathlib import Path

from proxy.leftovers import owned_file, remove_leftovers
from proxy.settings import InvalidSettingsError, Settings


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
        OSError: It cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)


def replace(path: Path, content: bytes) -> None:
    """Put `content` in the place of the file: a reader, or a start after a power failure, finds all of
    the old or all of the new.

    Raises:
        OSError: It cannot be written; the file is as it was.
    """
    descriptor, temporary = owned_file(path.parent, _prefix(path))  # mode 0600
    with open(descriptor, "wb") as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError:
            temporary.unlink()
            raise
    _sync_directory(path.parent)


def remove_half_written(path: Path) -> None:
    """Remove what a process that was killed while it replaced the file has left beside it."""
    remove_leftovers(path.parent, _prefix(path))


def _prefix(path: Path) -> str:
    return f".{path.name}.new-"


def _sync_directory(path: Path) -> None:
    """Without it a power failure may undo a rename that has been reported."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
