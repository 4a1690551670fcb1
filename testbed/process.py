"""Processes of the test bed: logged to a file, stopped for certain."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from testbed.accounts import Account
from testbed.errors import TestbedError

_GUARD = Path(__file__).with_name("guard.py")


class GuardedProcess:
    """A command under the watch of `guard.py`: it ends when this object is closed or this process ends.

    It runs in a process group and a session of its own, so that Ctrl-C in a terminal reaches the starter
    alone, which then stops things in its own order.

    Args:
        command: program and arguments.
        log: file that takes standard output and standard error; it is truncated.
        env: the whole environment.
        account: whom to run it as; None: as this process. Only root can choose.
        scratch: a directory that is removed when the command has ended; the log may lie there.
        grace_s: seconds between SIGTERM and SIGKILL.

    Raises:
        TestbedError: the command cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        account: Account | None = None,
        scratch: Path | None = None,
        grace_s: float = 10.0,
    ) -> None:
        self.log = log
        self._grace_s = grace_s
        guard = [sys.executable, "-I", "-S", str(_GUARD), f"--grace-s={grace_s}"]
        if account is not None:
            guard += [f"--uid={account.uid}", f"--gid={account.gid}"]
        if scratch is not None:
            guard.append(f"--scratch={scratch}")
        with log.open("wb") as stream:
            self._guard = subprocess.Popen(
                [*guard, "--", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                env=env,
                cwd=cwd,
                start_new_session=True,
            )
        assert self._guard.stdout is not None
        with self._guard.stdout as said:
            outcome, _, rest = said.readline().decode(errors="replace").strip().partition(" ")
        if outcome != "started":
            self.stop()
            raise TestbedError(f"{command[0]} cannot be started: {rest or self.log_tail(1)}")
        self.pid = int(rest)

    def poll(self) -> int | None:
        """The exit status (128 + N when signal N ended it), or None while it runs."""
        return self._guard.poll()

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for the end by itself. Raises `subprocess.TimeoutExpired`."""
        return self._guard.wait(timeout_s)

    def stop(self) -> int:
        """SIGTERM, then SIGKILL after the grace time; returns the exit status. May be called again."""
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        try:
            return self._guard.wait(self._grace_s + 10)
        except subprocess.TimeoutExpired:
            self.kill()
            self._guard.kill()
            return self._guard.wait()

    def kill(self) -> None:
        """SIGKILL to the whole group, as a crash would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of the log; nothing once it is gone with the scratch directory."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as stream:
            stream.seek(max(0, self.log.stat().st_size - 64 * 1024))
            text = stream.read().decode(errors="replace")
        return "\n".join(text.rstrip().splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
