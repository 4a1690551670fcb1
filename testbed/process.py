"""Processes of the test bed, which log to a file and are reliably stopped."""

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
    """A command that is run by `guard.py`: it ends when this object is closed or this process ends.

    It runs in a separate process group and session, so that Ctrl-C in a terminal reaches only this process,
    which then stops things in order.

    Args:
        command: The program and its arguments.
        log: The file for standard output and standard error; it is truncated.
        env: The complete environment.
        account: The account to run it as; None for that of this process. Only root can choose.
        scratch: A directory that is removed when the command has ended; it may hold the log.
        grace_s: Seconds between SIGTERM and SIGKILL.

    Raises:
        TestbedError: The command cannot be started.
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
        """Return the exit status (128 + N if signal N ended it), or None while it runs."""
        return self._guard.poll()

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for the process to end by itself. Raises `subprocess.TimeoutExpired`."""
        return self._guard.wait(timeout_s)

    def stop(self) -> int:
        """Send SIGTERM, and SIGKILL after the grace time. Return the exit status. May be called again."""
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        try:
            return self._guard.wait(self._grace_s + 10)
        except subprocess.TimeoutExpired:
            self.kill()
            self._guard.kill()
            return self._guard.wait()

    def kill(self) -> None:
        """Send SIGKILL to the whole group, to simulate a crash."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def log_tail(self, lines: int = 15) -> str:
        """Return the last lines of the log; nothing once it has been removed with the scratch directory."""
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
