"""The account that a server runs as, and what it can reach."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.accounts import Account, give, make_work_directory, may_enter, unprivileged_account

_STRANGER = Account("stranger", 4_000_001, 4_000_001)


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Make a directory that all users can reach, unlike those of pytest."""
    directory = make_work_directory("testbed-test-", None)
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.mark.parametrize(
    ("above", "directory", "expected"),
    [
        (0o755, 0o755, True),
        (0o711, 0o705, True),
        (0o711, 0o711, False),  # may pass, but not list
        (0o700, 0o755, False),
        (0o750, 0o755, False),
        (0o755, 0o700, False),
    ],
)
def test_the_way_has_to_be_open_all_along(
    open_directory: Path, above: int, directory: int, expected: bool
) -> None:
    inner = open_directory / "above" / "directory"
    inner.mkdir(parents=True)
    inner.chmod(directory)
    inner.parent.chmod(above)
    try:
        assert may_enter(inner, _STRANGER) is expected
    finally:
        inner.parent.chmod(0o755)


def test_rights_of_owner_and_group_count(open_directory: Path) -> None:
    open_directory.chmod(0o500)
    status = open_directory.stat()
    assert may_enter(open_directory, Account("owner", status.st_uid, 4_000_001))
    assert not may_enter(open_directory, Account("group", 4_000_001, status.st_gid))
    open_directory.chmod(0o050)
    assert may_enter(open_directory, Account("group", 4_000_001, status.st_gid))
    open_directory.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hand files over")
def test_as_root_the_work_directory_belongs_to_the_account() -> None:
    account = unprivileged_account()
    assert account is not None
    assert account.name == "nobody"
    directory = make_work_directory("testbed-test-", account)
    (directory / "file").touch()
    give(directory, account)
    assert {path.stat().st_uid for path in (directory, directory / "file")} == {account.uid}
    assert may_enter(directory, account)
    shutil.rmtree(directory)


@pytest.mark.skipif(os.geteuid() == 0, reason="root has to become another user")
def test_as_anyone_else_nothing_changes() -> None:
    assert unprivileged_account() is None
