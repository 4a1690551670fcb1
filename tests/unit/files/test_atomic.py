"""Files that are replaced as a whole."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from rerank_proxy.files.atomic import remove_half_written, replace
from rerank_proxy.files.leftovers import owned_file
from rerank_proxy.files.regular import UnfitFileError


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.parametrize(("mode", "expected"), [(0o600, 0o600), (0o666, 0o640)])
def test_content_and_mode(tmp_path: Path, umask: None, mode: int, expected: int) -> None:
    path = tmp_path / "file"
    for content in (b"first", b"second"):
        replace(path, content, mode)
        assert path.read_bytes() == content
        assert stat.S_IMODE(path.stat().st_mode) == expected
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    with pytest.raises(UnfitFileError, match="link: is a symbolic link to what is not there"):
        replace(tmp_path / "link", b"")
    (tmp_path / "file").touch()
    replace(tmp_path / "link", b"content")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"content"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    replace(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        replace(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_has_left_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    descriptor, _ = owned_file(tmp_path, ".file.new-")
    remove_half_written(path)
    assert len(list(tmp_path.iterdir())) == 1, "its owner lives"
    os.close(descriptor)
    remove_half_written(path)
    assert list(tmp_path.iterdir()) == []
