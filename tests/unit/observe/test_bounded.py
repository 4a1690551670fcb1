"""Bounded connections over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

from rerank_proxy.observe.bounded import BoundedConnections
from tests.support.raw_http import Wire, connect


class Echo(asyncio.Protocol):
    """Echoes what it receives, and the end of it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)

    def eof_received(self) -> bool:
        self._transport.write(b"end")
        return False


@asynccontextmanager
async def echo(most: int, seconds: float) -> AsyncIterator[int]:
    connections = BoundedConnections(Echo, most, seconds)
    server = await asyncio.get_running_loop().create_server(connections, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def says(wire: Wire, text: bytes) -> bool:
    await wire.send(text)
    return await wire.read(len(text)) == text


async def test_the_oldest_gives_way_to_a_new_one() -> None:
    async with echo(3, 3600) as port, AsyncExitStack() as stack:
        wires = []
        for _ in range(5):
            wires.append(await stack.enter_async_context(connect(port)))
            assert await says(wires[-1], b"here")
        assert [await wire.ended() for wire in wires[:2]] == [True, True]
        assert [await says(wire, b"still here") for wire in wires[2:]] == [True] * 3


async def test_who_opens_many_cuts_off_no_one_else() -> None:
    async with echo(3, 3600) as port, AsyncExitStack() as stack:
        probe = await stack.enter_async_context(connect(port, source="127.0.0.2"))
        assert await says(probe, b"here")
        for _ in range(9):
            assert await says(await stack.enter_async_context(connect(port)), b"flood")
        assert await says(probe, b"still here")


async def test_those_that_ended_take_no_place() -> None:
    async with echo(2, 3600) as port, connect(port) as first:
        assert await says(first, b"here")
        for _ in range(5):
            async with connect(port) as other:
                await other.send(b"x")
                other.end_sending()
                assert await other.read_to_end() == b"xend"
        assert await says(first, b"still here")


async def test_one_that_may_last_longer_does() -> None:
    made: list[Echo] = []

    def make() -> Echo:
        made.append(Echo())
        return made[-1]

    connections = BoundedConnections(make, 9, 0.05)
    server = await asyncio.get_running_loop().create_server(connections, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with connect(port) as long:
        assert await says(long, b"here")
        connections.extend(made[0]._transport, 3600)
        async with connect(port) as short:
            assert await short.ended()
        assert await says(long, b"still here")
        connections.extend(made[0]._transport, 0)
        assert await long.ended()
    server.close()


async def test_none_lasts_for_longer_than_it_may() -> None:
    async with echo(9, 0.01) as port, connect(port) as wire:
        await wire.send(b"G")
        assert await wire.ended()
