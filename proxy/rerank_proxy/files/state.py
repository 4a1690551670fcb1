"""The directory of what outlives the process."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rerank_proxy.files.regular import refuse_dead_links
from rerank_proxy.settings import InvalidSettingsError, Settings

_MAKE_ROOM: Final = "make room there; it is tried again with the next request"
_LET_WRITE: Final = "let the account of the proxy write there, or name another directory with [state_dir]"
_REMEDIES: Final = {
    errno.ENOSPC: _MAKE_ROOM,
    errno.EDQUOT: _MAKE_ROOM,
    errno.EROFS: _LET_WRITE,
    errno.EACCES: _LET_WRITE,
    errno.EPERM: _LET_WRITE,
}


def state_directory(settings: Settings, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the state directory of the settings, or the user's (XDG Base Directory Specification).

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
    """Make a directory for its owner alone, if need be; directories above it as the system makes them.

    Raises:
        OSError, UnfitFileError: It cannot be made.
    """
    refuse_dead_links(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)


def unwritable_text(error: OSError, place: Path) -> str:
    """Return for the log where something could not be written, what is wrong there, and what to do.

    Args:
        place: Where it is, if the error does not name a file.
    """
    remedy = _REMEDIES.get(error.errno or 0)
    problem = f"{error.filename or place}: {error.strerror or error}"
    return problem if remedy is None else f"{problem}; {remedy}"
