"""What the commands of `judge` share: how they fail, and how they ask the proxy."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rerank_proxy.cli.options import CommandError, die
from rerank_proxy.processes.loop import new_event_loop
from rerank_proxy.relevance.client.searching import Searcher
from rerank_proxy.relevance.errors import RelevanceError


@contextmanager
def failing() -> Iterator[None]:
    """Exit with 1 and a line about what could not be done."""
    try:
        yield
    except (RelevanceError, CommandError) as failure:
        die(str(failure), 1)


def run(
    work: Callable[[Searcher], Awaitable[None]], searcher_of: Callable[[], Searcher], directory: Path
) -> None:
    """Do work with a client of the proxy.

    Args:
        searcher_of: Makes the client. Where it cannot, the command is wrong, and the process exits with 2.
        directory: Of the judging, for who interrupts it.
    """
    try:
        searcher = searcher_of()
    except CommandError as failure:
        die(str(failure), 2)

    async def with_searcher() -> None:
        async with searcher:
            await work(searcher)

    with failing(), asyncio.Runner(loop_factory=new_event_loop) as runner:
        try:
            runner.run(with_searcher())
        except KeyboardInterrupt:
            die(f"stopped; the same command goes on in {directory}", 130)
