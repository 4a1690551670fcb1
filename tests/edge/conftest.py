"""Fixtures of the tests that drive an edge over real sockets."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from rerank_proxy.edge.server import Edge
from rerank_proxy.processes.loop import new_event_loop
from rerank_proxy.settings import load
from rerank_proxy.tls import owned
from tests.support.raw_http import RawServer, Serve, Wire, connect, raw_server
from tests.support.tls import Authority

BOTH_HOPS = ("test_backpressure", "test_faults", "test_messages", "test_transparency")
"""Modules whose tests run over TCP, and over TLS on both sides of the relay."""

BOTH_LOOPS = ("test_backpressure", "test_client_faults", "test_faults", "test_listening")
"""Modules whose tests run over both kinds of loop, because they are about what transports do. Over TLS only
those of backpressure do. All run over both with `--long`.
"""

TCP_ALONE = (
    "test_dies_while_the_request_is_still_sent",
    "test_that_closes_is_read_in_full_by_a_client_that_sends_on",
)
"""Tests whose clients send on after the other side's end, as asyncio's TLS does not."""


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Transports differ in what they buffer and when they call: both kinds of loop must do."""
    return {"uvloop": new_event_loop, "asyncio": asyncio.new_event_loop}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "start_relay" in metafunc.fixturenames and metafunc.module.__name__.endswith(BOTH_HOPS):
        hops = ["tcp"] if metafunc.function.__name__ in TCP_ALONE else ["tcp", "tls"]
        metafunc.parametrize("hops", hops, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the tests over one kind of loop, except where transports matter: above them all is the same."""
    left_out = [] if config.getoption("long") else [item for item in items if _is_left_out(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not _is_left_out(item)]


def _is_left_out(item: pytest.Item) -> bool:
    chosen = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    if chosen.get("_asyncio_loop_factory", new_event_loop) is new_event_loop:
        return False
    both = BOTH_LOOPS[:1] if chosen.get("hops") == "tls" else BOTH_LOOPS
    return not any(f"/{module}.py" in item.nodeid for module in both)


class Relay:
    """A running edge with the upstream behind it."""

    def __init__(
        self, edge: Edge, upstream: RawServer, stack: AsyncExitStack, tls: ssl.SSLContext | None
    ) -> None:
        self.edge = edge
        self.upstream = upstream
        self._stack = stack
        self._tls = tls

    async def connect(self) -> Wire:
        return await self._stack.enter_async_context(connect(self.edge.address.port, tls=self._tls))

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


@dataclass(frozen=True)
class Hops:
    """TLS on both sides of the relay.

    Attributes:
        server: What upstream shows.
        client: How the clients check the relay.
        settings: Those of the relay.
    """

    server: ssl.SSLContext
    client: ssl.SSLContext
    settings: Mapping[str, Any]


@pytest.fixture(scope="session")
def tls_hops(tmp_path_factory: pytest.TempPathFactory) -> Hops:
    authority = Authority(tmp_path_factory.mktemp("tls"))
    shown = authority.issue()
    settings = {
        "tls": {"cert": str(shown.path), "key": str(shown.key_path)},
        "upstream": {"ca_certs": str(authority.path)},
    }
    return Hops(shown.server(), authority.client(), settings)


@pytest.fixture
def hops(request: pytest.FixtureRequest) -> Hops | None:
    """TLS on both sides, or None."""
    if getattr(request, "param", "tcp") == "tcp":
        return None
    hops: Hops = request.getfixturevalue("tls_hops")
    return hops


@pytest.fixture
async def start_relay(app_socket: Path, hops: Hops | None) -> AsyncIterator[StartRelay]:
    async with AsyncExitStack() as stack:

        async def start(
            serve: Serve, settings: Mapping[str, Any] | None = None, *, app: Serve | None = None
        ) -> Relay:
            upstream = await stack.enter_async_context(raw_server(serve, tls=hops.server if hops else None))
            if app is not None:
                await stack.enter_async_context(raw_server(app, path=app_socket))
            values: dict[str, Any] = {"listen": "127.0.0.1:0", "upstream": {"url": upstream.url}}
            for given in (hops.settings if hops else {}, settings or {}):
                for section, value in given.items():
                    values[section] = (
                        {**values.get(section, {}), **value} if isinstance(value, dict) else value
                    )
            edge = Edge(load(None, values, {}), app_socket)
            await edge.start()
            stack.push_async_callback(edge.stop)
            return Relay(edge, upstream, stack, hops.client if hops else None)

        yield start


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def polled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at files for TLS again at once."""
    monkeypatch.setattr(owned, "POLL_S", 0.002)
