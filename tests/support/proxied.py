"""Edge and application in front of an Elasticsearch: the whole way of a request, in one process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from proxy.app.listener import Listener
from proxy.edge.server import Edge
from proxy.settings import load
from tests.support.search_app import search_app


@asynccontextmanager
async def proxied(url: str, directory: Path, **search: Any) -> AsyncIterator[Edge]:
    """Serve in front of the Elasticsearch at `url`.

    Args:
        directory: Where the application's socket may lie.
        search: As of `search_app`.
    """
    async with search_app(url, **search) as app:
        listener = Listener(app.handle, shutdown_timeout_s=10)
        await listener.start(directory / "app.sock")
        settings = load(None, {"listen": "127.0.0.1:0", "upstream": {"url": url}}, {})
        edge = Edge(settings, directory / "app.sock")
        await edge.start()
        try:
            yield edge
        finally:
            await edge.stop()
            await listener.close()
