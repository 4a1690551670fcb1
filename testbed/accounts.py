"""Elasticsearch refuses to run as root: find an account that it can run as instead."""

import os
import pwd
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import TestbedError


@dataclass(frozen=True, slots=True)
class Account:
    """A user with its own group; supplementary groups are dropped."""

    name: str
    uid: int
    gid: int


def unprivileged_account() -> Account | None:
    """Return the account to run servers as: `nobody` for root, otherwise None for the current user."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise TestbedError(
            "Elasticsearch refuses to run as root, and there is no account `nobody`: run this as another user"
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def may_enter(path: Path, account: Account | None) -> bool:
    """Tell whether `account` may read a directory, for which it must be able to pass through its parents."""
    if account is None:
        return os.access(path, os.R_OK | os.X_OK)
    path = path.resolve()
    return _allows(path, account, stat.S_IROTH | stat.S_IXOTH) and all(
        _allows(parent, account, stat.S_IXOTH) for parent in path.parents
    )


def _allows(path: Path, account: Account, wanted: int) -> bool:
    """Tell whether the mode bits of `path` give `account` the rights `wanted`, as bits for "others"."""
    status = path.stat()
    if status.st_uid == account.uid:
        wanted <<= 6
    elif status.st_gid == account.gid:
        wanted <<= 3
    return status.st_mode & wanted == wanted


def make_work_directory(prefix: str, account: Account | None) -> Path:
    """Make a temporary directory that belongs to `account` and that it can reach."""
    candidates = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]
    for parent in candidates:
        if parent.is_dir() and may_enter(parent, account):
            directory = Path(tempfile.mkdtemp(prefix=prefix, dir=parent)).resolve()
            give(directory, account)
            return directory
    listed = ", ".join(map(str, dict.fromkeys(candidates)))
    name = account.name if account else "you"
    raise TestbedError(
        f"{name} cannot enter any temporary directory of {listed}: set TMPDIR to one that {name} can"
    )


def give(directory: Path, account: Account | None) -> None:
    """Make `account` the owner of a directory and all that is in it."""
    if account is None:
        return
    for path in [directory, *directory.rglob("*")]:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
