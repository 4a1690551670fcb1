"""One URL whose name has several addresses: each is a node, and they come and go."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from rerank_proxy.edge.server import Edge
from rerank_proxy.settings import load
from rerank_proxy.upstream import keeper, names
from rerank_proxy.upstream.targets import TcpTarget
from tests.edge.samples import COUNT
from tests.support.raw_http import OK, TIMEOUT_S, Wire, connect, raw_server
from tests.support.tls import Authority
from tests.support.waiting import until_true

pytestmark = pytest.mark.usefixtures("addresses")
BOTH = ["127.0.0.1", "127.0.0.2"]
ASKING = b"GET /_search HTTP/1.1\r\nHost: the-client's\r\n\r\n"


class Names:
    """In place of a name server: the addresses of every name."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.asked = 0

    async def of(self, target: TcpTarget) -> list[str]:
        self.asked += 1
        return self.addresses


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> Names:
    served = Names()
    monkeypatch.setattr(names, "_addresses", served.of)
    monkeypatch.setattr(keeper, "RESOLVED_AGAIN_S", 0.001)
    monkeypatch.setattr(keeper, "RESOLVED_EVERY_S", 0.01)
    return served


class Behind:
    """An edge before a name; which address a request came to is known by its node.

    Attributes:
        got: The first lines and hosts of the requests, by address.
        hold: While it is not set, nothing is answered.
    """

    def __init__(self, path: Path) -> None:
        self.got: dict[str, list[bytes]] = {address: [] for address in BOTH}
        self.hold = asyncio.Event()
        self.hold.set()
        self._path = path
        self._stack = AsyncExitStack()

    async def start(self, authority: Authority | None = None, **settings: Any) -> None:
        tls = authority.issue().server() if authority else None
        port = 0
        for address in BOTH:
            serve = self._serving(address)
            server = await self._stack.enter_async_context(
                raw_server(serve, tls=tls, host=address, port=port)
            )
            port = server.port
        url = f"{'https' if authority else 'http'}://localhost:{port}"
        values = {"listen": "127.0.0.1:0", "upstream": {"url": url, **settings}}
        self.edge = Edge(load(None, values, {}), self._path / "app.sock")
        await self.edge.start()
        self._stack.push_async_callback(self.edge.stop)

    def _serving(self, address: str) -> Any:
        async def serve(wire: Wire) -> None:
            while True:
                message = await wire.read_message()
                self.got[address].append(message.head)
                await asyncio.wait_for(self.hold.wait(), TIMEOUT_S)
                await wire.send(OK)

        return serve

    def hosts(self) -> list[str]:
        assert self.edge._shared is not None
        return [
            node.target.host
            for node in self.edge._shared.upstream.nodes
            if isinstance(node.target, TcpTarget)
        ]

    async def ask(self, request: bytes = COUNT) -> int:
        async with connect(self.edge.address.port) as wire:
            await wire.send(request)
            return (await wire.read_message()).status

    async def stop(self) -> None:
        await self._stack.aclose()


@pytest.fixture
async def behind(tmp_path: Path) -> AsyncIterator[Behind]:
    started = Behind(tmp_path)
    yield started
    await started.stop()


async def test_each_address_is_a_node(behind: Behind, addresses: Names) -> None:
    addresses.addresses = BOTH
    await behind.start()
    await until_true(lambda: behind.hosts() == BOTH)
    assert [await behind.ask(ASKING) for _ in range(4)] == [200] * 4
    assert {address: len(got) for address, got in behind.got.items()} == dict.fromkeys(BOTH, 2)
    assert all(b"Host: the-client's" in head for got in behind.got.values() for head in got)


async def test_the_host_is_the_urls_where_upstream_gets_its_own(behind: Behind, addresses: Names) -> None:
    addresses.addresses = BOTH
    await behind.start(host_header="upstream")
    await until_true(lambda: behind.hosts() == BOTH)
    assert [await behind.ask(ASKING) for _ in range(2)] == [200] * 2
    assert all(b"localhost:" in head for got in behind.got.values() for head in got)


async def test_the_certificate_is_checked_for_the_name(
    behind: Behind, addresses: Names, tmp_path: Path
) -> None:
    addresses.addresses = ["127.0.0.2", "127.0.0.1"]
    authority = Authority(tmp_path)
    await behind.start(authority, ca_certs=str(authority.path))
    await until_true(lambda: sorted(behind.hosts()) == BOTH)
    assert [await behind.ask() for _ in range(2)] == [200] * 2
    assert all(behind.got.values())


async def test_one_address_stays_a_name(behind: Behind, addresses: Names) -> None:
    addresses.addresses = BOTH[:1]
    await behind.start()
    await until_true(lambda: addresses.asked > 2)
    assert behind.hosts() == ["localhost"]
    assert await behind.ask() == 200


async def test_a_name_that_cannot_be_resolved_keeps_its_nodes(behind: Behind, addresses: Names) -> None:
    addresses.addresses = BOTH
    await behind.start()
    await until_true(lambda: behind.hosts() == BOTH)
    addresses.addresses = []
    asked = addresses.asked
    await until_true(lambda: addresses.asked > asked + 1)
    assert behind.hosts() == BOTH


async def test_what_is_gone_is_let_go_without_cutting_requests(behind: Behind, addresses: Names) -> None:
    addresses.addresses = BOTH
    await behind.start()
    await until_true(lambda: behind.hosts() == BOTH)
    assert [await behind.ask() for _ in range(2)] == [200] * 2
    behind.hold.clear()
    under_way = [asyncio.create_task(behind.ask()) for _ in range(4)]
    await until_true(lambda: [len(got) for got in behind.got.values()] == [3, 3])
    addresses.addresses = BOTH[:1]
    await until_true(lambda: behind.hosts() == ["localhost"])
    behind.hold.set()
    assert await asyncio.gather(*under_way) == [200] * 4
    gone = len(behind.got["127.0.0.2"])
    assert [await behind.ask() for _ in range(4)] == [200] * 4
    assert len(behind.got["127.0.0.2"]) == gone
    shared = behind.edge._shared
    assert shared is not None
    await until_true(lambda: shared.upstream.busy == 0)
