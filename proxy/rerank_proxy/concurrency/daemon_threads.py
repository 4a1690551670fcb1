"""Threads that do not keep the process alive."""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

_T = TypeVar("_T")
_P = ParamSpec("_P")


async def run_in_daemon_thread(work: Callable[[], _T], name: str) -> _T:
    """Run `work` on a new thread and return its result.

    Executors wait for their threads when Python ends, which may take long if one of them downloads a model.
    When the awaiting task is cancelled the thread goes on, and its result is dropped.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def settle(result: _T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # None only if `work` returned it

    def run() -> None:
        result, problem = None, None
        try:
            result = work()
        except BaseException as error:  # raised in the awaiting task
            problem = tamed(error)
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, problem)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await future


def tamed(error: BaseException) -> Exception:
    """Return the error of a thread as an `Exception`, which the callers handle.

    A panic in a Rust library, and code that calls `sys.exit`, raise something else, which would pass every
    handler of failures.
    """
    if isinstance(error, Exception):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")


class DaemonThread(Executor):
    """An executor of one thread, which unlike a pool's never keeps the process from ending."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    def start(self) -> None:
        """Start the thread, unless it runs already.

        Raises:
            RuntimeError: The system has no thread left.
        """
        if self._thread is None:
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            thread.start()
            self._thread = thread

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        if self._closed:
            raise RuntimeError(f"thread [{self._name}] was closed")
        self.start()
        future: Future[_T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # raised in the caller
                future.set_exception(tamed(error))
            else:
                future.set_result(result)

        self._work.put(work)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the thread end after the work that it has. Never waits: the work may never return."""
        self._closed = True
        self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()
            del work  # or it would keep the last batch, and its model, until more work comes
