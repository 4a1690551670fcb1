"""Files, and what may stand in their place."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from rerank_proxy.files.regular import TooLargeFileError, UnfitFileError, opened, read, read_if_exists, stamp


def _bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


OTHERS: dict[str, Callable[[Path], None]] = {
    "a directory": Path.mkdir,
    "a named pipe": os.mkfifo,
    "a socket": _bind,
    "a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_only_files_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    path = Path("x")
    OTHERS[kind](path)
    for attempt in (read, read_if_exists):
        with pytest.raises(UnfitFileError) as raised:
            attempt(path, 10)
        assert str(raised.value) == f"x: is {kind}, not a file"
        assert raised.value.problem == f"is {kind}, not a file"


def test_no_more_is_read_than_expected(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read(path, 5) == b"12345"
    with pytest.raises(TooLargeFileError, match=r"^file: is larger than 4 bytes$"):
        read(path, 4)


def test_a_file_that_grows_is_not_read_further(tmp_path: Path) -> None:
    """`/proc` says that its files have no bytes."""
    with pytest.raises(TooLargeFileError):
        read(Path("/proc/self/status"), 4)


def test_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert read_if_exists(path, 1) is None
    assert stamp(path) is None
    with pytest.raises(FileNotFoundError), opened(path):
        pass


def test_a_link_that_leads_nowhere_is_not_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    for path in (tmp_path / "link", tmp_path / "link" / "file"):
        with pytest.raises(UnfitFileError, match="link: is a symbolic link to what is not there"):
            read_if_exists(path, 1)
