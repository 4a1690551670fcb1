"""A slow reader holds the sender back; nothing piles up in between."""

import asyncio
import tracemalloc
from collections.abc import Callable

from tests.edge.conftest import StartRelay
from tests.edge.samples import GET
from tests.support.raw_http import OK, TIMEOUT_S, Wire


class TestBackpressure:
    SIZE = 100_000_000

    async def settled(self, counter: Callable[[], int]) -> None:
        """Wait until a number stops growing: nothing moves any more."""
        last, unchanged = -1, 0
        async with asyncio.timeout(TIMEOUT_S):
            while unchanged < 20:
                unchanged = unchanged + 1 if counter() == last else 0
                last = counter()
                await asyncio.sleep(0.005)

    async def test_client_that_reads_slowly_holds_upstream_back(self, start_relay: StartRelay) -> None:
        sent = 0
        piece = b"x" * 100_000

        async def serve(wire: Wire) -> None:
            nonlocal sent
            await wire.read_message()
            await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % self.SIZE)
            while sent < self.SIZE:
                await wire.send(piece)
                sent += len(piece)

        client = await (await start_relay(serve)).connect()
        tracemalloc.start()
        try:
            await client.send(GET)
            await self.settled(lambda: sent)
            assert sent < self.SIZE
            await client.read_head()
            for _ in range(self.SIZE // 100_000):
                assert len(await client.read(100_000)) == 100_000
            assert tracemalloc.get_traced_memory()[1] < 20_000_000
        finally:
            tracemalloc.stop()

    async def test_upstream_that_reads_slowly_holds_the_client_back(self, start_relay: StartRelay) -> None:
        sent = 0
        piece = b"x" * 100_000
        read_on = asyncio.Event()

        async def serve(wire: Wire) -> None:
            await wire.read_head()
            await asyncio.wait_for(read_on.wait(), TIMEOUT_S)
            for _ in range(self.SIZE // 100_000):
                assert len(await wire.read(100_000)) == 100_000
            await wire.send(OK)

        async def send(client: Wire) -> None:
            nonlocal sent
            await client.send(b"POST /_bulk HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % self.SIZE)
            while sent < self.SIZE:
                await client.send(piece)
                sent += len(piece)

        client = await (await start_relay(serve)).connect()
        tracemalloc.start()
        try:
            sending = asyncio.create_task(send(client))
            await self.settled(lambda: sent)
            assert sent < self.SIZE
            read_on.set()
            assert (await client.read_message()).raw == OK
            await sending
            assert tracemalloc.get_traced_memory()[1] < 20_000_000
        finally:
            tracemalloc.stop()
