"""How a call ends."""

import asyncio

from rerank_proxy.engine.errors import EngineError


class Ending:
    """How a request ended, for the task that waits for it."""

    def __init__(self) -> None:
        self._ended = asyncio.Event()
        self._error: EngineError | None = None

    def end(self, error: EngineError | None) -> None:
        self._error = error
        self._ended.set()

    async def wait(self) -> None:
        await self._ended.wait()
        if self._error is not None:
            raise self._error
