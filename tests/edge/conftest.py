"""Fixtures of the tests that drive an edge over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from rerank_proxy.edge.server import Edge
from rerank_proxy.processes.loop import new_event_loop
from rerank_proxy.settings import load
from tests.support.raw_http import RawServer, Serve, Wire, connect, raw_server


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Transports differ in what they buffer and when they call: both kinds of loop must do."""
    return {"uvloop": new_event_loop, "asyncio": asyncio.new_event_loop}


class Relay:
    """A running edge with the upstream behind it."""

    def __init__(self, edge: Edge, upstream: RawServer, stack: AsyncExitStack) -> None:
        self.edge = edge
        self.upstream = upstream
        self._stack = stack

    async def connect(self) -> Wire:
        return await self._stack.enter_async_context(connect(self.edge.address.port))

    def metric(self, name: str, **labels: str) -> float:
        """A sample of the edge's metrics; 0 when it was never counted."""
        return self.edge.metrics.registry.get_sample_value(name, labels) or 0.0


class StartRelay(Protocol):
    """Start an edge before an upstream that runs `serve`; settings in the form of the YAML file."""

    def __call__(
        self, serve: Serve, settings: Mapping[str, Any] | None = None, *, app: Serve | None = None
    ) -> Awaitable[Relay]: ...


@pytest.fixture
def app_socket(tmp_path: Path) -> Path:
    return tmp_path / "app.sock"


@pytest.fixture
async def start_relay(app_socket: Path) -> AsyncIterator[StartRelay]:
    async with AsyncExitStack() as stack:

        async def start(
            serve: Serve, settings: Mapping[str, Any] | None = None, *, app: Serve | None = None
        ) -> Relay:
            upstream = await stack.enter_async_context(raw_server(serve))
            if app is not None:
                await stack.enter_async_context(raw_server(app, path=app_socket))
            values: dict[str, Any] = {"listen": "127.0.0.1:0", "upstream": {"url": upstream.url}}
            for section, value in (settings or {}).items():
                values[section] = {**values.get(section, {}), **value} if isinstance(value, dict) else value
            edge = Edge(load(None, values, {}), app_socket)
            await edge.start()
            stack.push_async_callback(edge.stop)
            return Relay(edge, upstream, stack)

        yield start
