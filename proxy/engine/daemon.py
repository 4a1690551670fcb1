"""A thread that does not keep the process alive."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


async def run_in_daemon_thread(work: Callable[[], _T], name: str) -> _T:
    """Await `work` done on a new thread.

    Executors wait for their threads when Python ends, which may be long when one of them downloads a model.
    When the awaiting task is cancelled the thread goes on, and its result is forgotten.
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
        except BaseException as error:  # It belongs to whoever awaits.
            problem = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, problem)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await future
