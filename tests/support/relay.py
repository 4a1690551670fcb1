"""A relay in front of a real Elasticsearch that itself answers what the test's one lacks."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.Response | None]]
"""Answers a request, or returns None to have the real Elasticsearch answer it."""

_OF_THE_MESSAGE: Final = ("content-length", "transfer-encoding")
_NOT_TO_BE_ADDED: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


@asynccontextmanager
async def relay(url: str, own: Mapping[tuple[str, str], Handler]) -> AsyncIterator[str]:
    """Serve in front of the Elasticsearch at `url`; yields the address.

    Args:
        own: By method and path (as aiohttp's routes are written), what is answered here.
    """

    async def forward(request: web.Request) -> web.Response:
        dropped = ("host", *_OF_THE_MESSAGE)
        headers = {n: v for n, v in request.headers.items() if n.lower() not in dropped}
        async with session.request(
            request.method, url + request.raw_path, data=await request.read() or None, headers=headers
        ) as answer:
            kept = {n: v for n, v in answer.headers.items() if n.lower() not in _OF_THE_MESSAGE}
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)

    def forwarding(handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            own_answer = await handler(request)
            return await forward(request) if own_answer is None else own_answer

        return answer

    app = web.Application()
    for (method, path), handler in own.items():
        app.router.add_route(method, path, forwarding(handler))
    app.router.add_route("*", "/{path:.*}", forward)
    runner = web.AppRunner(app, auto_decompress=False)
    await runner.setup()
    # Nothing is kept, so that tests can count what is open.
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(
        connector=connector, skip_auto_headers=_NOT_TO_BE_ADDED, auto_decompress=False
    ) as session:
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            yield f"http://{host}:{port}"
        finally:
            await runner.cleanup()
