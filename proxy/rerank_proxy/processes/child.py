"""A child process that is started with one line of orders and ends with its parent."""

import asyncio
import os
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress

from rerank_proxy.processes.child_stderr import ChildStderr, log_descriptor


class Child:
    """Starts a command and waits for its end.

    Its standard input holds the orders, and stays open as long as this process lives: see
    `startup.orders_of_parent`. Its standard error is read (`child_stderr`). It has to be started on the main
    thread, within the event loop.

    Args:
        name: What the log calls it.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(self, command: Sequence[str], orders: bytes, name: str = "child") -> None:
        # Not by the event loop: uvloop would restore the default of each signal, so that one that is ignored
        # here could end the child until its first line has run.
        # A session of its own: Ctrl-C reaches every process of the terminal's session, and this one is still
        # needed for the searches under way.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(log_descriptor(),),
            start_new_session=True,
            bufsize=0,
        )
        assert self._process.stderr is not None
        self._stderr = ChildStderr(name, self._process.pid, self._process.stderr)
        self._orders = orders
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        threading.Thread(target=self._attend, name=f"child-{self._process.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        """Wait for its end. Return its exit status, or the negative number of the signal that ended it."""
        await self._ended.wait()
        status = self._process.returncode
        assert status is not None
        return status

    async def last_lines(self) -> list[str]:
        """Return what it has written last to its standard error, once it has ended."""
        return await asyncio.to_thread(self._stderr.last_lines)

    async def stop(self, timeout_s: float) -> None:
        """Stop it with SIGTERM, or by force if that takes longer than the time."""
        if self._ended.is_set():
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self.wait(), timeout_s)
        except TimeoutError:
            self._process.kill()
            await self.wait()

    def kill(self) -> None:
        """End it by force."""
        if not self._ended.is_set():
            self._process.kill()

    def _attend(self) -> None:
        """Write the orders, which may block until the child reads them, and wait for its end."""
        pipe = self._process.stdin
        assert pipe is not None
        orders = memoryview(self._orders)
        with suppress(BrokenPipeError):  # it ended before it read them
            while orders:
                orders = orders[os.write(pipe.fileno(), orders) :]
        self._process.wait()
        pipe.close()
        with suppress(RuntimeError):  # the loop is closed: nothing awaits the child
            self._loop.call_soon_threadsafe(self._ended.set)
