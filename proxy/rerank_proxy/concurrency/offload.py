"""Run long work off the event loop, so that a large body does not hold up other requests.

There is one worker. Several would compete with one another and with the event loop for the interpreter; so
large bodies wait for one another, and small ones, which are read inline, for none of them. The limits on
bodies bound the work: about half a second of processor time.
"""

import asyncio
from collections.abc import Callable, Sized
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

INLINE_BYTES: Final = 16 * 1024
"""Up to this size reading takes less than going to the worker and back, and in the worst case some 20 ms."""

_worker: Final = ThreadPoolExecutor(1, thread_name_prefix="offload")


_BYTES_OF_A_DOC: Final = 16
"""The bytes that one document counts for: writing its part of a query or an answer takes some 10 µs."""


def docs_size(docs: Sized) -> int:
    """Return the size for `offload` of work that is done for each document."""
    return _BYTES_OF_A_DOC * len(docs)


def answer_size(answer: bytes) -> int:
    """Return the size for `offload` of reading an answer from upstream, most of which is skipped."""
    return len(answer) // 16


async def offload(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return `work(*args, **kwargs)`, done by the worker if it has many bytes to go through.

    Args:
        size: The bytes that the work goes through.
    """
    if size <= INLINE_BYTES:
        return work(*args, **kwargs)
    call = asyncio.get_running_loop().run_in_executor(_worker, lambda: work(*args, **kwargs))
    return await call
