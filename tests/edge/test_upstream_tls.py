"""TLS to upstream: ends, and files that are replaced while requests run."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict

from rerank_proxy.edge.server import Edge
from rerank_proxy.inference.registry.index_client import IndexClient
from rerank_proxy.settings import load
from rerank_proxy.tls import owned
from rerank_proxy.upstream.client import ElasticsearchClient
from rerank_proxy.upstream.targets import TcpTarget
from tests.edge.samples import GET
from tests.edge.secured_relay import INFO, ask, files, running, shown_to
from tests.support.raw_http import OK, TIMEOUT_S, Wire, answering, connect, raw_server
from tests.support.tls import Authority, alerting_server, with_authority
from tests.support.waiting import until_true

ONE_INFO = INFO.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")


class TestUpstream:
    async def test_an_answer_that_ends_with_its_connection_needs_an_end_in_order(
        self, app_socket: Path, authority: Authority
    ) -> None:
        """Without a `close_notify` it was cut short, by a fault or an attacker (RFC 8446 §6.1)."""
        in_order = False

        async def serve(wire: Wire) -> None:
            await wire.read_message()
            await wire.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
            if not in_order:
                wire.end_without_notice()
                await wire.ended()
                raise ConnectionResetError  # so that the server does not announce the end after all

        issued = authority.issue()
        async with (
            raw_server(serve, tls=issued.server()) as upstream,
            running(app_socket, upstream.url, upstream={"ca_certs": str(authority.path)}) as edge,
        ):
            async with connect(edge.address.port) as wire:
                await wire.send(GET)
                with pytest.raises(ConnectionResetError):
                    await wire.read_to_end()
            in_order = True
            async with connect(edge.address.port) as wire:
                await wire.send(GET)
                assert (await wire.read_to_end()).endswith(b"\r\n\r\nhalf")

    async def test_a_new_authority_is_taken_over(self, app_socket: Path, authority: Authority) -> None:
        """Who meets a certificate that is not trusted looks at the files at once."""
        serve, _ = answering(ONE_INFO)
        context = authority.issue().server()
        async with AsyncExitStack() as stack:
            upstream = await stack.enter_async_context(raw_server(serve, tls=context))
            sections = {"url": upstream.url, "ca_certs": str(authority.path)}
            values = {"listen": "127.0.0.1:0", "upstream": sections}
            callers = await _callers(stack, values, app_socket)
            for call in callers:
                await call()
            # As ECK does it: both are new at the same time, before any look at the files.
            renewed = Authority(authority.path.parent)
            assert renewed.path == authority.path
            shown = renewed.issue("new").server()
            context.sni_callback = lambda tls, _, __: setattr(tls, "context", shown)
            # Of many at a time, some fail when another has looked at the files already.
            await asyncio.gather(*(call() for call in callers * 8))

    @pytest.mark.usefixtures("polled")
    async def test_a_new_client_certificate_is_shown(self, app_socket: Path, authority: Authority) -> None:
        seen = []

        async def serve(wire: Wire) -> None:
            await wire.read_message()
            seen.append(shown_to(wire))
            await wire.send(OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))

        client = authority.issue("client")
        server = authority.issue().server(clients=authority)
        settings = {"ca_certs": str(authority.path), **files(client, "client_")}
        async with (
            raw_server(serve, tls=server) as upstream,
            running(app_socket, upstream.url, upstream=settings) as edge,
            connect(edge.address.port) as wire,
        ):
            await ask(wire)
            assert seen == [client.fingerprint]
            new = authority.issue("client").fingerprint
            async with asyncio.timeout(TIMEOUT_S):
                while seen[-1] != new:
                    async with connect(edge.address.port) as again:
                        await ask(again)

    async def test_a_refused_client_certificate_has_the_files_read(
        self, app_socket: Path, authority: Authority
    ) -> None:
        """With TLS 1.3 the refusal comes after the handshake, and a request may be on its way by then."""
        client = authority.issue("client")
        renewed = Authority(authority.path.parent, "Renewed")
        with alerting_server(authority.issue().server(clients=renewed)) as port:
            settings = {"ca_certs": str(authority.path), **files(client, "client_")}
            async with running(app_socket, f"https://127.0.0.1:{port}", upstream=settings) as edge:
                renewed.issue("client")  # in the same files
                async with connect(edge.address.port) as wire:
                    await wire.send(b"POST /i/_doc HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}")
                    assert (await wire.read_message()).raw.endswith(b"ok")
                assert edge.metrics.retries == 0  # none that could have been carried out
                search = ElasticsearchClient(edge._settings.upstream, edge._settings.search)
                authority.issue("client")
                target = search._pool.nodes[0].target
                assert isinstance(target, TcpTarget)
                assert target.tls is not None
                await target.tls.refresh()
                renewed.issue("client")
                assert (await search.request("POST", "/", b"{}", CIMultiDict())).body == b"ok"
                await search.close()

    @pytest.mark.usefixtures("polled")
    async def test_of_all_that_follow_the_same_files_one_tells(
        self, app_socket: Path, authority: Authority, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, owned.logger.name)
        values = {
            "listen": "127.0.0.1:0",
            "tls": files(authority.issue()),
            "upstream": {"url": "https://127.0.0.1:9", "ca_certs": str(authority.path)},
        }

        def told(setting: str) -> list[int]:
            start = f"new content of [{setting}]"
            return [record.levelno for record in caplog.records if record.getMessage().startswith(start)]

        async with AsyncExitStack() as stack:
            await _callers(stack, values, app_socket)  # an edge, and what the application has
            another = Edge(load(None, values, {}), app_socket, quiet=True)
            await another.start()
            stack.push_async_callback(another.stop)
            Authority(authority.path.parent).issue()
            await until_true(lambda: len(told("upstream.ca_certs")) == 4 and len(told("tls.cert")) == 2)
        for setting in ("upstream.ca_certs", "tls.cert"):
            assert told(setting).count(logging.INFO) == 1

    async def test_pinned_by_a_fingerprint(self, app_socket: Path, authority: Authority) -> None:
        """Of the certificate or its authority, whatever the host is called."""
        serve, _ = answering(INFO)
        issued = with_authority(authority.issue(hosts=["es.example"]), authority)
        pins = (
            issued.fingerprint.upper(),
            ":".join(authority.fingerprint[i : i + 2] for i in range(0, 64, 2)),
        )
        for pin in pins:
            async with AsyncExitStack() as stack:
                upstream = await stack.enter_async_context(raw_server(serve, tls=issued.server()))
                values = {
                    "listen": "127.0.0.1:0",
                    "upstream": {"url": upstream.url, "ca_fingerprint": pin},
                }
                for call in await _callers(stack, values, app_socket):
                    await call()

    @pytest.mark.parametrize("name", ["es.example", "es.example."])
    async def test_another_name(self, app_socket: Path, authority: Authority, name: str) -> None:
        serve, _ = answering(INFO)
        asked: list[str | None] = []
        context = authority.issue(hosts=["es.example"]).server()
        context.sni_callback = lambda _, name, __: asked.append(name)
        async with AsyncExitStack() as stack:
            upstream = await stack.enter_async_context(raw_server(serve, tls=context))
            values = {
                "listen": "127.0.0.1:0",
                "upstream": {
                    "url": upstream.url,
                    "ca_certs": str(authority.path),
                    "server_name": name,
                },
            }
            for call in await _callers(stack, values, app_socket):
                await call()
        assert set(asked) == {"es.example"}


Call = Callable[[], Any]


async def _callers(
    stack: AsyncExitStack, values: dict[str, Any], app_socket: Path
) -> tuple[Call, Call, Call]:
    """All that connect to upstream: the edge, the searches, the registry. Each asks once for each call."""
    settings = load(None, values, {})
    edge = Edge(settings, app_socket)
    await edge.start()
    stack.push_async_callback(edge.stop)
    search = ElasticsearchClient(settings.upstream, settings.search)
    stack.push_async_callback(search.close)
    registry = IndexClient(settings.upstream, settings.registry)
    stack.push_async_callback(registry.close)

    async def by_edge() -> None:
        async with connect(edge.address.port) as wire:
            assert (await ask(wire)).endswith(INFO.partition(b"\r\n\r\n")[2])

    async def by_search() -> None:
        assert (await search.request("GET", "/", b"", CIMultiDict())).status == 200

    async def by_registry() -> None:
        assert (await registry.call("GET", "", answer=dict))["name"] == "n"

    return by_edge, by_search, by_registry
