"""Requests that several tests send, and a wait that they share."""

import asyncio
from collections.abc import Callable

from tests.support.raw_http import TIMEOUT_S

GET = b"GET /i/_doc/1 HTTP/1.1\r\n\r\n"
SEARCH = b"POST /_search HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}"
COUNT = SEARCH.replace(b"_search", b"_count")
BULK = SEARCH.replace(b"_search", b"_bulk")


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something holds that has no event of its own."""
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110  # see above
            await asyncio.sleep(0.001)
