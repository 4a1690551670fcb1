"""A process that is started again whenever it ends."""

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.observe.control import ControlClient
from rerank_proxy.observe.events import event
from rerank_proxy.processes.answering import end_when_silent
from rerank_proxy.processes.child import Child
from rerank_proxy.processes.child_stderr import ended
from rerank_proxy.processes.memory_kills import memory_kills

logger = logging.getLogger(__name__)

_STEADY_S = 60.0
"""A process that ran for so long had started well: its death does not repeat the one before."""
_MAX_RESTART_DELAY_S = 10.0


def restart_delay_s(quick_deaths: int) -> float:
    """Return how long to wait before a restart: not at all after the first death, then ever longer."""
    return 0.0 if quick_deaths <= 1 else min(0.5 * 2.0 ** min(quick_deaths - 2, 10), _MAX_RESTART_DELAY_S)


class KeptProcess:
    """Keeps a process running.

    Args:
        words: What the log calls it in a sentence.
        name: What it calls itself in the log.
        sockets: Those that it makes, which are removed when it has ended.
        on_start: Called when it has been started, also again.
        on_end: Called when it has ended.
        on_restart: Called before it is started again.

    Attributes:
        started_at: Loop time of the start of the process that runs; None, none does.
    """

    def __init__(
        self,
        words: str,
        name: str,
        command: Sequence[str],
        orders: bytes,
        sockets: Sequence[Path],
        *,
        on_start: Callable[[], None],
        on_end: Callable[[], None],
        on_restart: Callable[[], None],
    ) -> None:
        self._words = words
        self._name = name
        self._command = command
        self._sockets = sockets
        self._on_start = on_start
        self._on_end = on_end
        self._on_restart = on_restart
        self.started_at: float | None = None
        self._child: Child | None = None
        self._killed_as: str | None = None
        self._tasks = BackgroundTasks()
        self.orders = orders
        """The line on its standard input; another one is given from the next start on."""

    def start(self) -> None:
        self._tasks.start(self._keep_running())

    def watch(self, control: ControlClient, path: str, silent_s: float, *, from_start: bool) -> None:
        """End it by force when it is silent, as `end_when_silent` says."""
        self._tasks.start(end_when_silent(self, control, path, silent_s, from_start=from_start))

    async def stop(self, timeout_s: float) -> None:
        """Stop it gracefully within the time, else by force."""
        await self._tasks.cancel()
        if self._child is not None:
            await self._child.stop(timeout_s)
            self._ended()

    def kill(self, why: str) -> None:
        """End it by force, so that it is started again.

        Args:
            why: What it did or did not do, in words that follow "it".
        """
        if self._child is not None:
            self._killed_as = why
            self._child.kill()

    async def _keep_running(self) -> None:
        loop = asyncio.get_running_loop()
        quick_deaths = 0
        while True:
            began = loop.time()
            how, fields = await self._run_once()
            quick_deaths = 1 if loop.time() - began >= _STEADY_S else quick_deaths + 1
            delay_s = restart_delay_s(quick_deaths)
            logger.error("%s %s; it is started again in %g s", self._words, how, delay_s, extra=fields)
            await asyncio.sleep(delay_s)
            self._on_restart()

    async def _run_once(self) -> tuple[str, Mapping[str, object]]:
        """Start it and wait for its end. Return how it ended, in words and in fields."""
        kills, self._killed_as = memory_kills(), None
        try:
            child = self._child = Child(self._command, self.orders, self._name)
        except OSError as error:
            failed = event("process-not-started", "process", failed=True)
            return f"cannot be started ({self._command[0]}: {error.strerror})", failed
        self.started_at = asyncio.get_running_loop().time()
        self._on_start()
        status = await child.wait()
        self._ended()
        fields = ended(self._name, child.pid, status, await child.last_lines())
        if self._killed_as is not None:
            return f"was ended, as it {self._killed_as}", fields
        if status == -signal.SIGKILL:
            return f"{how_ended(status)} {who_killed(kills, memory_kills())}", fields
        return how_ended(status), fields

    def _ended(self) -> None:
        self._child = self.started_at = None
        self._on_end()
        for path in self._sockets:
            path.unlink(missing_ok=True)


def how_ended(status: int) -> str:
    """Say how a process ended.

    Args:
        status: Its exit status, or the negative number of the signal that ended it.
    """
    return f"was killed by {_signal_name(-status)}" if status < 0 else f"ended with status {status}"


def who_killed(before: int | None, after: int | None) -> str:
    """Return what is known of who sent SIGKILL.

    Args:
        before: How many processes the kernel had killed for lack of memory when the process started; None, it
            does not tell.
        after: The same when the process had ended.
    """
    if before is None or after is None:
        return "(where memory is short, the system kills, too: its log says so, or `kubectl describe pod`)"
    if after > before:
        return "by the kernel, because memory was short (oom_kill): raise the limit, or use smaller models"
    return "by someone: the kernel has killed nothing here for lack of memory"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
