"""What a killed process leaves, and who may remove it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from rerank_proxy.files.leftovers import OwnedDirectory, owned_file, remove_leftovers

PREFIX = "rerank-proxy-test-"


@contextmanager
def other_process(parent: Path, what: str) -> Iterator[Path]:
    """A process that owns a directory or a file, and is killed in the end."""
    make = {
        "directory": "owned = OwnedDirectory(parent, prefix); path = owned.path; (path / 'inner').mkdir()",
        "file": "_, path = owned_file(parent, prefix)",
    }
    script = (
        "import sys; from pathlib import Path\n"
        "from rerank_proxy.files.leftovers import OwnedDirectory, owned_file\n"
        f"parent, prefix = Path({str(parent)!r}), {PREFIX!r}\n"
        f"{make[what]}\n"
        "print(path, flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        yield Path(process.stdout.readline().rstrip("\n"))
        process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("what", ["directory", "file"])
def test_what_a_killed_process_leaves_is_removed_and_what_a_living_one_has_is_not(
    tmp_path: Path, what: str
) -> None:
    with other_process(tmp_path, what) as theirs:
        assert theirs.exists()
        remove_leftovers(tmp_path, PREFIX)
        assert theirs.exists()
    assert theirs.exists()
    remove_leftovers(tmp_path, PREFIX)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_is_for_its_owner_alone_and_goes_with_all_that_is_in_it(tmp_path: Path) -> None:
    with OwnedDirectory(tmp_path, PREFIX) as directory:
        assert directory.stat().st_mode & 0o777 == 0o700
        assert re.fullmatch(PREFIX + "[a-z0-9_]{8}", directory.name)
        (directory / "inner").mkdir()
        (directory / "inner" / "file").touch()
    assert list(tmp_path.iterdir()) == []


class TestWhatIsNotOurs:
    """It is left alone, however it is named."""

    def make_link(self, path: Path) -> None:
        target = path.parent / "target"
        target.mkdir()
        (target / "kept").touch()
        path.symlink_to(target)

    def make_dangling_link(self, path: Path) -> None:
        path.symlink_to(path.parent / "absent")

    def make_pipe(self, path: Path) -> None:
        os.mkfifo(path)

    @pytest.mark.parametrize("make", [make_link, make_dangling_link, make_pipe])
    def test_kind(self, tmp_path: Path, make: Callable[[object, Path], None]) -> None:
        make(self, tmp_path / f"{PREFIX}abcdefgh")
        before = sorted(tmp_path.rglob("*"))
        remove_leftovers(tmp_path, PREFIX)
        assert sorted(tmp_path.rglob("*")) == before

    @pytest.mark.parametrize(
        "name", [f"{PREFIX}abcdefg", f"{PREFIX}abcdefghi", f"{PREFIX}ABCDEFGH", f"x{PREFIX}abcdefgh", PREFIX]
    )
    def test_name(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).mkdir()
        remove_leftovers(tmp_path, PREFIX)
        assert (tmp_path / name).is_dir()

    def test_user(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        left = tmp_path / f"{PREFIX}abcdefgh"
        left.mkdir()
        user = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: user + 1)
        remove_leftovers(tmp_path, PREFIX)
        assert left.is_dir()
        monkeypatch.undo()
        remove_leftovers(tmp_path, PREFIX)
        assert not left.exists()

    def test_what_a_link_in_it_leads_to(self, tmp_path: Path) -> None:
        kept = tmp_path / "kept"
        kept.mkdir()
        (kept / "file").touch()
        left = tmp_path / f"{PREFIX}abcdefgh"
        left.mkdir()
        (left / "link").symlink_to(kept)
        remove_leftovers(tmp_path, PREFIX)
        assert not left.exists()
        assert (kept / "file").exists()


def test_a_directory_that_cannot_be_read_has_no_leftovers(tmp_path: Path) -> None:
    remove_leftovers(tmp_path / "absent", PREFIX)


def test_those_who_make_and_remove_at_once_take_nothing_from_each_other(tmp_path: Path) -> None:
    """A lock belongs to an open file, so threads stand for processes."""

    def work(_: int) -> None:
        for _ in range(50):
            remove_leftovers(tmp_path, PREFIX)
            with OwnedDirectory(tmp_path, PREFIX) as directory:
                (directory / "mine").touch()
                descriptor, path = owned_file(tmp_path, PREFIX)
                remove_leftovers(tmp_path, PREFIX)
                assert (directory / "mine").exists()
                path.unlink()
                os.close(descriptor)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert list(tmp_path.iterdir()) == []
