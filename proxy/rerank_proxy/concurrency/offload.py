"""Runs what takes long off the event loop, so that one large body holds up no other request.

There is one worker. Several would take the interpreter from one another and from the event loop; large bodies
wait for one another instead, and small ones, which are read at once, for none of them. What is given to it is
bounded by the limits on bodies: about half a second of processor time.
"""

import asyncio
from collections.abc import Callable, Sized
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

INLINE_BYTES: Final = 16 * 1024
"""Up to here reading takes less than going to the worker and back, and in the worst case some 20 ms."""

_worker: Final = ThreadPoolExecutor(1, thread_name_prefix="offload")


_BYTES_OF_A_DOC: Final = 16
"""What one document counts for: making its part of a query or of an answer takes some 10 µs."""


def docs_size(docs: Sized) -> int:
    """Return what documents count for in `offload`, where something is made of each."""
    return _BYTES_OF_A_DOC * len(docs)


def answer_size(answer: bytes) -> int:
    """Return what an answer of upstream's counts for in `offload`: most of it is passed over."""
    return len(answer) // 16


async def offload(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return `work(*args, **kwargs)`, done by the worker where it has many bytes to go through.

    Args:
        size: Bytes that the work grows with.
    """
    if size <= INLINE_BYTES:
        return work(*args, **kwargs)
    call = asyncio.get_running_loop().run_in_executor(_worker, lambda: work(*args, **kwargs))
    return await call
