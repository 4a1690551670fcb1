"""Ends a process that does not answer any more, to have it started again."""

import asyncio
from typing import Final, Protocol

from rerank_proxy.observe.control import ControlClient

ASKED_EVERY_S: Final = 5.0
"""How often a process is asked whether it still runs its event loop."""
_ROUND_S: Final = ASKED_EVERY_S + 5.0
"""The most that one question without an answer adds to the time of silence: more than that has passed where
this process stood still itself, as in a container that is paused."""


class Kept(Protocol):
    """The process, which is started again when it has ended."""

    @property
    def started_at(self) -> float | None:
        """Loop time of the start of the process that runs; None, none does."""

    def kill(self, why: str) -> None:
        """End it by force."""


async def end_when_silent(
    kept: Kept, control: ControlClient, path: str, silent_s: float, *, from_start: bool
) -> None:
    """Ask the process for as long as this is awaited, and end it when it is silent.

    Args:
        path: What it is asked for.
        silent_s: Seconds without an answer after which it is ended.
        from_start: Whether silence counts from its start on, and not only from its first answer on.
    """
    loop = asyncio.get_running_loop()
    run, counts, silence_s, asked_at = kept.started_at, from_start, 0.0, loop.time()
    while True:
        await asyncio.sleep(ASKED_EVERY_S)
        answer = await control.get(path)
        passed_s, asked_at = loop.time() - asked_at, loop.time()
        if kept.started_at != run:
            run, counts, silence_s = kept.started_at, from_start, 0.0
        if answer is not None:
            counts, silence_s = True, 0.0
        elif counts and run is not None:
            silence_s += min(passed_s, _ROUND_S)
            if silence_s >= silent_s:
                kept.kill(f"had not answered for {silent_s:g} s")
                silence_s = 0.0
