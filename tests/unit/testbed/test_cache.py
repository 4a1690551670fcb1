"""What the cache holds is complete, even if filling it was interrupted."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from rich.console import Console

from testbed.cache import cache_directory, cached_directory
from testbed.errors import TestbedError
from testbed.progress import Reporter, Step

_REPOSITORY = Path(__file__).parents[3]


class _OnStep(Reporter):
    """Writes a line to `stream` when the first step begins."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(Console(quiet=True))
        self._stream = stream
        self.titles: list[str] = []

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        self.titles.append(title)
        self._stream.write(b"\n")
        self._stream.flush()
        with super().step(title) as step:
            yield step


@pytest.fixture
def reporter() -> Reporter:
    return Reporter(Console(quiet=True))


def test_is_filled_once(tmp_path: Path, reporter: Reporter) -> None:
    calls = []

    def fill(directory: Path) -> None:
        calls.append(directory)
        (directory / "file").write_text("whole")

    for _ in range(2):
        found = cached_directory(tmp_path / "cache" / "thing", fill, reporter)
        assert (found / "file").read_text() == "whole"
    assert len(calls) == 1


def test_every_user_may_read_it(tmp_path: Path, reporter: Reporter) -> None:
    found = cached_directory(tmp_path / "thing", lambda directory: None, reporter)
    assert found.stat().st_mode & 0o777 == 0o755


def test_a_failure_leaves_nothing_behind(tmp_path: Path, reporter: Reporter) -> None:
    def fail(directory: Path) -> None:
        (directory / "half").touch()
        raise TestbedError("no network")

    with pytest.raises(TestbedError, match="no network"):
        cached_directory(tmp_path / "thing", fail, reporter)
    assert [path.name for path in tmp_path.iterdir()] == [".thing.lock"]
    cached_directory(tmp_path / "thing", lambda directory: None, reporter)


def test_what_a_killed_run_left_is_removed(tmp_path: Path, reporter: Reporter) -> None:
    (tmp_path / ".thing.partial-abc").mkdir()
    (tmp_path / ".other.partial-abc").mkdir()
    cached_directory(tmp_path / "thing", lambda directory: None, reporter)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.partial-abc", ".thing.lock", "thing"]


def test_a_second_run_waits_for_the_first(tmp_path: Path, reporter: Reporter) -> None:
    """The first run stays in `fill`, holding the lock, until the second is known to wait for it."""
    program = f"""
        from pathlib import Path
        from testbed.cache import cached_directory
        from testbed.progress import Reporter
        def fill(directory):
            print("filling", flush=True)
            input()
            (directory / "file").write_text("by the other run")
        cached_directory(Path({str(tmp_path / "thing")!r}), fill, Reporter())
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=_REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == b"filling\n"
        let_go = _OnStep(other.stdin)
        found = cached_directory(tmp_path / "thing", _never, let_go)
        assert (found / "file").read_text() == "by the other run"
        assert let_go.titles == [f"Waiting for another run that fills {tmp_path}"]


def _never(directory: Path) -> None:
    pytest.fail("filled twice")


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path, reporter: Reporter) -> None:
    def refuse(directory: Path) -> None:
        raise PermissionError(13, "Permission denied", str(directory))

    with pytest.raises(
        TestbedError, match=r"^the cache cannot be written .*: change its owner, or set TESTBED_CACHE"
    ):
        cached_directory(tmp_path / "thing", refuse, reporter)


def test_the_environment_says_where(tmp_path: Path) -> None:
    assert cache_directory({}) == _REPOSITORY / ".cache"
    assert cache_directory({"TESTBED_CACHE": str(tmp_path)}) == tmp_path
