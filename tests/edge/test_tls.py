"""TLS of clients: handshakes, ends, and files that are replaced while requests run."""

import asyncio
import json
import socket
import ssl
from functools import partial
from pathlib import Path
from typing import Any, get_args

import elasticsearch
import pytest

from rerank_proxy.http import tls_layer
from rerank_proxy.settings import load
from rerank_proxy.tls import handshakes, owned
from tests.edge.samples import GET
from tests.edge.secured_relay import INFO, ask, files, running, shown_to
from tests.support.raw_http import OK, TIMEOUT_S, Wire, answering, connect, raw_server
from tests.support.tls import Authority, Certificate, with_authority
from tests.support.waiting import until_true

_NODES = b'{"nodes":{"a":{"roles":["data"],"version":"9.5.0","http":{"publish_address":"10.0.0.1:9200"}}}}'
NODES = (
    b"HTTP/1.1 200 OK\r\nX-elastic-product: Elasticsearch\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_NODES), _NODES)
)


class TestListener:
    @pytest.mark.usefixtures("polled")
    async def test_a_new_certificate_is_shown_and_no_connection_is_dropped(
        self, app_socket: Path, authority: Authority
    ) -> None:
        serve, _ = answering(OK)
        issued = authority.issue()
        first = issued.fingerprint
        async with (
            raw_server(serve) as upstream,
            running(app_socket, upstream.url, tls=files(issued)) as edge,
            connect(edge.address.port, tls=authority.client()) as old,
        ):
            assert await ask(old) == OK
            second = authority.issue().fingerprint  # in the same files

            async def shows() -> str:
                async with connect(edge.address.port, tls=authority.client()) as new:
                    assert await ask(old) == OK
                    assert await ask(new) == OK
                    return shown_to(new)

            async with asyncio.timeout(TIMEOUT_S):
                while await shows() != second:
                    pass
            assert await ask(old) == OK
            assert shown_to(old) == first
            ends = edge.metrics.registry.get_sample_value(
                "rerank_proxy_certificate_not_after_seconds", {"of": "listener"}
            )
            async with connect(edge.address.port, tls=authority.client()) as new:
                shown = new.tls.getpeercert()
                assert shown is not None
                assert ends == ssl.cert_time_to_seconds(str(shown["notAfter"]))

    async def test_sighup_has_a_new_certificate_looked_for(
        self, app_socket: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(owned, "POLL_S", 3600)
        serve, _ = answering(OK)
        issued = authority.issue()
        values = {"listen": "127.0.0.1:0", "tls": files(issued)}
        async with (
            raw_server(serve) as upstream,
            running(app_socket, upstream.url, tls=files(issued)) as edge,
        ):
            second = authority.issue().fingerprint  # in the same files
            edge.use(load(None, values, {}))

            async def shown() -> str:
                async with connect(edge.address.port, tls=authority.client()) as new:
                    return shown_to(new)

            async with asyncio.timeout(TIMEOUT_S):
                while await shown() != second:
                    pass

    async def test_alpn_is_http_1(self, app_socket: Path, authority: Authority) -> None:
        client = authority.client()
        client.set_alpn_protocols(["h2", "http/1.1"])
        serve, _ = answering(OK)
        async with (
            raw_server(serve) as upstream,
            running(app_socket, upstream.url, tls=files(authority.issue())) as edge,
            connect(edge.address.port, tls=client) as wire,
        ):
            assert wire.tls.selected_alpn_protocol() == "http/1.1"
            assert await ask(wire) == OK

    @pytest.mark.parametrize("auth", ["optional", "required"])
    async def test_client_certificates(self, app_socket: Path, authority: Authority, auth: str) -> None:
        stranger = Authority(authority.path.parent, "Stranger")
        settings = {**files(authority.issue()), "client_ca": str(authority.path), "client_auth": auth}
        serve, requests = answering(OK)
        sent = GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-Client-Cert: By=me\r\n\r\n")
        async with raw_server(serve) as upstream, running(app_socket, upstream.url, tls=settings) as edge:

            async def answer(shown: Certificate | None) -> bytes | None:
                try:
                    async with connect(edge.address.port, tls=authority.client(shown)) as wire:
                        await wire.send(sent)
                        return (await wire.read_message()).raw
                except (OSError, asyncio.IncompleteReadError):
                    return None

            assert await answer(authority.issue("client")) == OK
            assert await answer(stranger.issue("other")) is None
            assert await answer(None) == (OK if auth == "optional" else None)
        # Neither a certificate nor its absence leaves a trace.
        assert {request.raw for request in requests} == {sent}

    async def test_a_client_that_is_refused_learns_why(
        self, app_socket: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whether or not it has sent a request by then, which would have the connection reset."""
        monkeypatch.setattr(tls_layer, "_LINGER_S", TIMEOUT_S)
        settings = {**files(authority.issue()), "client_ca": str(authority.path), "client_auth": "required"}
        serve, _ = answering(OK)

        def ask(port: int, pieces: int) -> None:
            with (
                socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as raw,
                authority.client().wrap_socket(raw, server_hostname="localhost") as tls,
            ):
                for _ in range(pieces):
                    tls.sendall(GET)
                tls.recv(1)

        async with raw_server(serve) as upstream, running(app_socket, upstream.url, tls=settings) as edge:
            for pieces in (0, 1, 20):
                with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
                    await asyncio.to_thread(ask, edge.address.port, pieces)
            # The client may learn of it before the proxy's event loop has seen the end.
            refused = edge.metrics.handshakes["listener"]
            await until_true(lambda: refused["no_client_certificate"] == 3)

    async def test_plain_http_gets_no_answer(self, app_socket: Path, authority: Authority) -> None:
        """As Elasticsearch does it (`Netty4HttpServerTransport`): the connection is closed."""
        serve, _ = answering(OK)
        async with (
            raw_server(serve) as upstream,
            running(app_socket, upstream.url, tls=files(authority.issue())) as edge,
        ):
            async with connect(edge.address.port) as wire:
                await wire.send(GET)
                assert await wire.read_to_end() == b""
            async with connect(edge.address.port, tls=authority.client()) as wire:
                assert await ask(wire) == OK
            metric = "rerank_proxy_tls_handshakes_failed_total"
            count = partial(edge.metrics.registry.get_sample_value, metric)
            counts = {why: count({"of": "listener", "reason": why}) for why in get_args(handshakes.Why)}
            assert counts == {**dict.fromkeys(counts, 0), "not_tls": 1}

    async def test_a_handshake_counts_and_ends(
        self, app_socket: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A client that does nothing takes the place of another for a bounded time."""
        monkeypatch.setattr(handshakes, "HANDSHAKE_S", 0.05)
        serve, _ = answering(OK)
        async with (
            raw_server(serve) as upstream,
            running(
                app_socket, upstream.url, tls=files(authority.issue()), edge={"max_connections": 1}
            ) as edge,
            connect(edge.address.port) as silent,
        ):
            await until_true(lambda: edge._listener is not None and edge._listener._connections == 1)
            async with connect(edge.address.port, tls=authority.client()) as wire:
                assert await silent.ended()
                assert await ask(wire) == OK
            assert edge.metrics.handshakes["listener"]["timeout"] == 1

    async def test_the_edge_ends_while_a_handshake_is_under_way(
        self, app_socket: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(handshakes, "_LAST_S", 0.01)
        serve, _ = answering(OK)
        async with (
            raw_server(serve) as upstream,
            running(app_socket, upstream.url, tls=files(authority.issue())) as edge,
            connect(edge.address.port) as silent,
        ):
            await until_true(lambda: edge._listener is not None and edge._listener._connections == 1)
            assert await edge.drain(TIMEOUT_S)
            assert await silent.ended()

    async def test_clients_pin_the_authority(self, app_socket: Path, authority: Authority) -> None:
        serve, _ = answering(INFO)
        issued = with_authority(authority.issue(), authority)

        def info(url: str, pin: str) -> Any:
            with elasticsearch.Elasticsearch(url, ssl_assert_fingerprint=pin) as client:
                return client.info()["name"]

        async with (
            raw_server(serve) as upstream,
            running(app_socket, upstream.url, tls=files(issued)) as edge,
        ):
            url = f"https://127.0.0.1:{edge.address.port}"
            assert await asyncio.to_thread(info, url, authority.fingerprint) == "n"
            assert await asyncio.to_thread(info, url, issued.fingerprint) == "n"
            with pytest.raises(elasticsearch.ConnectionError):
                await asyncio.to_thread(info, url, "00" * 32)


class TestSniffing:
    """Clients that look for the cluster's nodes, at an upstream on plain HTTP."""

    @pytest.mark.parametrize(
        ("host", "address"),
        [
            (b"Host: p\r\n", b"p:443"),
            (b"Host: p:80\r\n", b"p:80"),
            (b"Host: [::1]\r\n", b"[::1]:443"),
            (b"Host: p\r\nX-Forwarded-Proto: http\r\n", b"p:443"),
            (b"", b"127.0.0.1:%d"),
        ],
    )
    async def test_the_address_is_that_of_https(
        self, app_socket: Path, authority: Authority, host: bytes, address: bytes
    ) -> None:
        serve, _ = answering(NODES)
        async with (
            raw_server(serve) as upstream,
            running(app_socket, upstream.url, tls=files(authority.issue())) as edge,
            connect(edge.address.port, tls=authority.client()) as wire,
        ):
            await wire.send(b"GET /_nodes/http HTTP/1.1\r\n" + host + b"\r\n")
            expected = address % edge.address.port if b"%" in address else address
            nodes = json.loads((await wire.read_message()).body)["nodes"]
            assert nodes["a"]["http"]["publish_address"] == expected.decode()

    async def test_the_python_client_stays(self, app_socket: Path, authority: Authority) -> None:
        def hosts_after_sniffing(url: str) -> list[str]:
            options: dict[str, Any] = {
                "ca_certs": str(authority.path),
                "sniff_on_start": True,
                "sniff_before_requests": True,
                "min_delay_between_sniffing": 0,
            }
            with elasticsearch.Elasticsearch(url, **options) as client:
                for _ in range(2):
                    assert client.info()["name"] == "n"
                return [node.base_url for node in client.transport.node_pool.all()]

        lines: list[bytes] = []

        async def serve(wire: Wire) -> None:
            while True:
                lines.append((await wire.read_message()).first_line)
                await wire.send(NODES if b"/_nodes" in lines[-1] else INFO)

        async with (
            raw_server(serve) as upstream,
            running(app_socket, upstream.url, tls=files(authority.issue())) as edge,
        ):
            url = f"https://127.0.0.1:{edge.address.port}"
            assert await asyncio.to_thread(hosts_after_sniffing, url) == [url]
        assert lines.count(b"GET /_nodes/_all/http HTTP/1.1") >= 2
