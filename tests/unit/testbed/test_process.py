"""A guarded process ends with its parent, and its children end with it."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from testbed.errors import TestbedError
from testbed.process import GuardedProcess

_REPOSITORY = Path(__file__).parents[3]

_FAMILY = """
import os, signal
{prelude}
os.fork()
fifo = open(os.environ["FIFO"], "w", buffering=1)
print("up", file=fifo)
signal.pause()
"""
"""Starts a process and its child. Both hold a FIFO open, so its reader sees the end when both have ended."""


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def _family(prelude: str = "") -> list[str]:
    return [sys.executable, "-c", _FAMILY.format(prelude=prelude)]


@contextmanager
def _both_up(fifo: Path) -> Iterator[None]:
    """Watch a process and its child. The block has to end them: leaving it waits until both have ended."""
    with fifo.open() as reader:
        assert [reader.readline(), reader.readline()] == ["up\n", "up\n"]
        yield
        assert reader.read() == ""


def _environ(fifo: Path) -> dict[str, str]:
    return {**os.environ, "FIFO": str(fifo)}


def test_tells_its_exit_status_and_its_log(tmp_path: Path) -> None:
    command = ["sh", "-c", "for n in 1 2 3; do echo line $n; done; echo last >&2; exit 7"]
    with GuardedProcess(command, log=tmp_path / "log") as process:
        assert process.wait(30) == 7
        assert process.log_tail(2) == "line 3\nlast"


def test_stop_is_a_sigterm_first(tmp_path: Path, fifo: Path) -> None:
    script = f'trap "echo said goodbye; exit 3" TERM; echo ready > {fifo}; while :; do sleep 0.05; done'
    with GuardedProcess(["sh", "-c", script], log=tmp_path / "log") as process:
        assert fifo.read_text() == "ready\n"
        assert process.poll() is None
        assert process.stop() == 3
    assert process.log_tail(1) == "said goodbye"


def test_stop_ends_the_children_too(tmp_path: Path, fifo: Path) -> None:
    with GuardedProcess(_family(), log=tmp_path / "log", env=_environ(fifo)) as process, _both_up(fifo):
        assert process.stop() == 128 + signal.SIGTERM


def test_who_ignores_sigterm_is_killed(tmp_path: Path, fifo: Path) -> None:
    deaf = _family("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    process = GuardedProcess(deaf, log=tmp_path / "log", env=_environ(fifo), grace_s=0.2)
    with process, _both_up(fifo):
        assert process.stop() == 128 + signal.SIGKILL


def test_children_do_not_outlive_a_command_that_crashes(tmp_path: Path, fifo: Path) -> None:
    with GuardedProcess(_family(), log=tmp_path / "log", env=_environ(fifo)) as process, _both_up(fifo):
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(30) == 128 + signal.SIGKILL


def test_nothing_outlives_a_starter_that_is_killed(tmp_path: Path, fifo: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    program = f"""
        import sys
        from pathlib import Path
        from testbed.process import GuardedProcess
        scratch = Path({str(scratch)!r})
        process = GuardedProcess({_family()!r}, log=scratch / "log", scratch=scratch)
        print("started", flush=True)
        sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=_REPOSITORY,
        env=_environ(fifo),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == b"started\n"
        with _both_up(fifo):
            starter.kill()


def test_the_scratch_directory_goes_with_the_command(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with GuardedProcess(["true"], log=scratch / "log", scratch=scratch) as process:
        assert process.wait(30) == 0
    assert not scratch.exists()
    assert process.log_tail() == ""


def test_a_command_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        TestbedError, match=r"^/no/such cannot be started: No such file or directory: /no/such$"
    ):
        GuardedProcess(["/no/such"], log=tmp_path / "log")
