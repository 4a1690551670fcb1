"""Several processes that serve one port."""

import asyncio
import json
import os
import re
import signal
import socket
from pathlib import Path

from rerank_proxy.processes.edges import share
from rerank_proxy.settings import load
from tests.support.processes import children, is_running
from tests.support.raw_http import OK, TIMEOUT_S, Wire, connect
from tests.support.waiting import until_true
from tests.unit.processes.conftest import GET, SEARCH, Supervise, Supervised, refused

THREE = {"edge": {"processes": 3}}
PLAIN = re.compile(r'rerank_proxy_requests_total\{code="200",kind="plain"\} (\d+)')


async def edges(proxy: Supervised, number: int = 3) -> list[int]:
    """Return the processes that serve the port, the supervisor first, once there are so many."""

    def listening() -> list[int]:
        own = [proxy.process.pid, *children(proxy.process.pid)]
        return [pid for pid in own if _listens(pid, proxy.port)]

    await until_true(lambda: len(listening()) == number, "the processes")
    return listening()


def _listens(pid: int, port: int) -> bool:
    try:
        links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
        table = Path(f"/proc/{pid}/net/tcp").read_text()
    except FileNotFoundError:  # it has ended, or a file was closed
        return False
    inodes = [line.split()[9] for line in table.splitlines()[1:] if f":{port:04X} 00000000:0000 0A" in line]
    return any(f"socket:[{inode}]" in links for inode in inodes)


async def test_all_serve_and_their_counters_add_up(supervise: Supervise) -> None:
    proxy = await supervise(THREE)
    await proxy.app()
    await edges(proxy)
    for _ in range(40):
        assert (await proxy.ask(GET)).raw == OK
    assert (await proxy.ask(SEARCH)).body == b"reranked"
    metrics = await proxy.metrics()
    assert "rerank_proxy_edge_processes 3.0" in metrics
    counted = PLAIN.search(metrics)
    assert counted is not None
    assert int(counted[1]) == 40
    assert metrics.count("# TYPE rerank_proxy_requests_total") == 1


async def test_connections_are_divided(supervise: Supervise) -> None:
    proxy = await supervise(THREE)
    pids = await edges(proxy)
    serving: set[int] = set()
    async with asyncio.timeout(TIMEOUT_S):
        while len(serving) < len(pids):
            async with connect(proxy.port) as wire:
                await wire.send(GET)
                await wire.read_message()
                serving |= {pid for pid in pids if _has_connection(pid, wire, proxy.port)}


def _has_connection(pid: int, wire: Wire, port: int) -> bool:
    """Return whether the process has the other end of a connection."""
    links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
    ends = f":{port:04X} 0100007F:{wire.socket.getsockname()[1]:04X} 01"
    table = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    return any(f"socket:[{line.split()[9]}]" in links for line in table if ends in line)


async def test_one_that_is_killed_is_started_again(supervise: Supervise) -> None:
    proxy = await supervise(THREE)
    first, second, third = await edges(proxy)
    os.kill(third, signal.SIGKILL)
    await proxy.logged("a process that serves clients was killed by SIGKILL")
    await until_true(lambda: not is_running(third))
    assert {first, second} < set(await edges(proxy))
    assert "rerank_proxy_edge_restarts_total 1.0" in await proxy.metrics()


async def test_all_end_with_the_supervisor(supervise: Supervise) -> None:
    proxy = await supervise(THREE)
    pids = await edges(proxy)
    async with connect(proxy.port) as idle:
        proxy.process.terminate()
        assert await idle.read_to_end() == b""
    assert await proxy.exit_status() == 0
    assert not any(map(is_running, pids))


async def test_none_outlives_a_supervisor_that_is_killed(supervise: Supervise) -> None:
    proxy = await supervise(THREE)
    pids = await edges(proxy)
    proxy.process.kill()
    await proxy.exit_status()
    await until_true(lambda: not any(map(is_running, pids)), "their end")


async def test_all_use_new_limits(supervise: Supervise) -> None:
    proxy = await supervise(THREE)
    await proxy.app()
    await edges(proxy)
    await until_true(lambda: len(list(sockets(proxy))) == 2, "their control sockets")
    changed = {"edge": {"processes": 3, "max_head": "1KiB"}}
    (proxy.directory / "settings.json").write_text(json.dumps(changed))
    proxy.process.send_signal(signal.SIGHUP)
    await proxy.logged("SIGHUP: in force from now on: [edge.max_head]")
    long = GET.replace(b"\r\n\r\n", b"\r\nx: %b\r\n\r\n" % (b"x" * 2000))
    in_a_row = 0
    async with asyncio.timeout(TIMEOUT_S):
        while in_a_row < 20:
            in_a_row = in_a_row + 1 if (await proxy.ask(long)).status == 400 else 0


def sockets(proxy: Supervised) -> list[Path]:
    return list((proxy.directory / "tmp").glob("*/edge*.sock"))


async def test_port_of_another_proxy_is_not_shared(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        port = taken.getsockname()[1]
        log = await refused(tmp_path, {**THREE, "listen": f"127.0.0.1:{port}"})
    assert log == f"rerank-proxy: cannot listen on 127.0.0.1:{port}: address already in use\n"


def test_limits_are_divided() -> None:
    values = {"max_connections": 10, "max_buffered": 1000, "max_body": 400, "processes": 4}
    each = share(load(None, {"edge": values, "upstream": {"max_idle_connections": 3}}, {}))
    assert (each.edge.max_connections, each.edge.max_buffered, each.edge.max_body) == (2, 400, 400)
    assert each.upstream.max_idle_connections == 1
    alone = load(None, {"edge": {"max_connections": 10}}, {})
    assert share(alone) == alone
