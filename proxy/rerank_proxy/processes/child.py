"""A program that is started with one line of orders and ends with the process that started it."""

import asyncio
import os
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress


class Child:
    """A running child.

    Its standard input holds the orders, and stays open as long as this process lives: see
    `startup.orders_of_parent`. It is started from a running event loop, on the thread that ends last.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(self, command: Sequence[str], orders: bytes) -> None:
        # Not by the event loop's own means: uvloop would give it the default of each signal, so that one that
        # is ignored here could end it until its own first line has run.
        # A session of its own: Ctrl-C reaches every process of the terminal's, and this one is still needed
        # for the searches under way.
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, bufsize=0)
        self._orders = orders
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        threading.Thread(target=self._attend, name=f"child-{self._process.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        """Its exit status, once it has ended; a signal's number, negative, when that ended it."""
        await self._ended.wait()
        status = self._process.returncode
        assert status is not None
        return status

    async def stop(self, timeout_s: float) -> None:
        """End it: in good order within the time, else by force."""
        if self._ended.is_set():
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self.wait(), timeout_s)
        except TimeoutError:
            self._process.kill()
            await self.wait()

    def _attend(self) -> None:
        """Give it its orders, which waits until it reads them, and wait for its end."""
        pipe = self._process.stdin
        assert pipe is not None
        orders = memoryview(self._orders)
        with suppress(BrokenPipeError):  # it ended before it read them
            while orders:
                orders = orders[os.write(pipe.fileno(), orders) :]
        self._process.wait()
        pipe.close()
        with suppress(RuntimeError):  # the loop is closed: nothing waits for it
            self._loop.call_soon_threadsafe(self._ended.set)
