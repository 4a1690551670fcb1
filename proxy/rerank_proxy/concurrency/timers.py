"""Timers of the event loop, by name."""

import asyncio
from collections.abc import Callable
from contextvars import Context


class Timers:
    """Calls functions later. A timer takes the place of an earlier one of the same name.

    It has no context, as it would hold that of the request which starts it, with all texts, for as long.
    """

    def __init__(self) -> None:
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def start(self, name: str, seconds: float, action: Callable[[], None]) -> None:
        """Call `action` on the event loop after so many seconds."""
        earlier = self._timers.get(name)
        if earlier is not None:
            earlier.cancel()
        self._timers[name] = asyncio.get_running_loop().call_later(seconds, action, context=Context())

    def cancel(self) -> None:
        """Cancel all timers."""
        for timer in self._timers.values():
            timer.cancel()
