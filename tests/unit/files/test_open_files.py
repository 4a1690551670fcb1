"""The proxy where few files may be open: as a real process with a low limit."""

import asyncio
import json
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.files.open_files import RESERVED, share
from tests.edge.samples import GET
from tests.support.raw_http import OK, TIMEOUT_S, Message, RawServer, Wire, connect, raw_server
from tests.support.waiting import until_true

LIMIT = 200
CLIENTS = share(LIMIT, 10_000, 256).clients


@given(st.integers(0, 1 << 20), st.integers(1, 100_000), st.integers(1, 10_000))
def test_no_more_files_are_shared_out_than_there_are(files: int, max_connections: int, max_idle: int) -> None:
    shares = share(files, max_connections, max_idle)
    assert 1 <= shares.clients <= max_connections
    assert 0 <= shares.idle <= max_idle
    if files > RESERVED + 8:
        assert RESERVED + 2 * shares.clients + 2 * shares.idle <= files
    plenty = share(RESERVED + 4 * (max_connections + 8 * max_idle), max_connections, max_idle)
    assert plenty == share(None, max_connections, max_idle)


def limits_of(process: int) -> str:
    return Path(f"/proc/{process}/limits").read_text()


class Starved:
    """A proxy with a low limit, soft or hard, of open files."""

    def __init__(self, process: Process, directory: Path, port: int, admin_port: int) -> None:
        self.process = process
        self._directory = directory
        self.port = port
        self.admin_port = admin_port

    async def probe(self, path: str) -> Message:
        async with connect(self.admin_port) as wire:
            await wire.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            return await wire.read_message()

    async def is_live(self) -> bool:
        return (await self.probe("/live")).raw.endswith(b'{"live":true}')

    async def limits(self) -> list[str]:
        """The limits of the supervisor and of the application."""
        written = self._directory / "pid"
        await until_true(written.exists)
        processes = (self.process.pid, json.loads(written.read_text())["pid"])
        return [limits_of(process) for process in processes]

    @property
    def files(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    async def log(self) -> str:
        """End it, and return what it logged."""
        self.process.terminate()
        _, log = await asyncio.wait_for(self.process.communicate(), TIMEOUT_S)
        return log.decode()


@asynccontextmanager
async def starved(directory: Path, upstream: RawServer, limits: str) -> AsyncIterator[Starved]:
    values = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "upstream": upstream.url}
    values |= {"lifecycle": {"drain_delay_s": 0.01, "shutdown_timeout_s": 0.01}}  # type: ignore[dict-item]
    command = f'{limits} && exec "$@"'
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", command, "sh", sys.executable, "-m", "tests.support.supervised"),
        *(json.dumps(values), str(directory)),
        stderr=PIPE,
    )
    try:
        assert process.stderr is not None
        line = (await asyncio.wait_for(process.stderr.readline(), TIMEOUT_S)).decode()
        ports = re.search(r"listening on 127\.0\.0\.1:(\d+), admin on 127\.0\.0\.1:(\d+)", line)
        assert ports is not None, line
        yield Starved(process, directory, int(ports[1]), int(ports[2]))
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_the_soft_limit_is_raised_to_the_hard_one(tmp_path: Path) -> None:
    async with (
        raw_server(serve_at_once) as upstream,
        starved(tmp_path, upstream, "ulimit -Sn 200 && ulimit -Hn 600") as proxy,
    ):
        for limits in await proxy.limits():
            assert re.search(r"Max open files +600 +600 ", limits)
        log = await proxy.log()
    clients = share(600, 10_000, 256).clients
    assert f"(600) allows {clients} concurrent client connections, not the 10000" in log


async def serve_at_once(wire: Wire) -> None:
    while True:
        await wire.read_message()
        await wire.send(OK)


@pytest.mark.parametrize("answered", [True, False], ids=["idle clients", "requests under way"])
async def test_clients_beyond_the_limit_wait_and_the_admin_port_answers(
    tmp_path: Path, answered: bool
) -> None:
    arrived = 0

    async def serve(wire: Wire) -> None:
        nonlocal arrived
        while True:
            await wire.read_message()
            arrived += 1
            if not answered:
                await wire.ended()
            await wire.send(OK)

    async with (
        raw_server(serve) as upstream,
        starved(tmp_path, upstream, f"ulimit -n {LIMIT}") as proxy,
        AsyncExitStack() as stack,
    ):
        wires = [await stack.enter_async_context(connect(proxy.port)) for _ in range(LIMIT)]
        for wire in wires:
            await wire.send(GET)
        await until_true(lambda: arrived >= CLIENTS)
        assert await proxy.is_live()
        assert (await proxy.probe("/ready")).status in (200, 503)
        assert (await proxy.probe("/metrics")).status == 200
        assert arrived == CLIENTS
        assert proxy.files < LIMIT
        if answered:
            assert [(await wire.read_message()).raw for wire in wires[:CLIENTS]] == [OK] * CLIENTS
        for wire in wires[:CLIENTS]:
            await wire.close()
        await until_true(lambda: arrived >= 2 * CLIENTS)
        assert await proxy.is_live()
        log = await proxy.log()
    assert f"there are {CLIENTS} client connections: further ones wait" in log
    assert "open files; " not in log
    assert "Too many" not in log


async def test_connections_to_the_admin_port_that_say_nothing_keep_no_probe_out(tmp_path: Path) -> None:
    async with (
        raw_server(serve_at_once) as upstream,
        starved(tmp_path, upstream, f"ulimit -n {LIMIT}") as proxy,
        AsyncExitStack() as stack,
    ):
        before = proxy.files
        wires = [await stack.enter_async_context(connect(proxy.admin_port)) for _ in range(LIMIT)]
        for wire in wires:
            with suppress(ConnectionError):
                await wire.send(b"G")
        assert await proxy.is_live()
        assert (await proxy.probe("/metrics")).status == 200
        await until_true(lambda: proxy.files < before + 50)
        async with connect(proxy.port) as client:
            await client.send(GET)
            assert (await client.read_message()).raw == OK
