"""What is wrong with upstream is said in the same words by all who connect to it, and what to do with it."""

import json
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from ssl import TLSVersion

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from multidict import CIMultiDict

from rerank_proxy.cli.check import run_checks
from rerank_proxy.edge.server import Edge
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.inference.registry.index_client import IndexClient
from rerank_proxy.inference.registry.index_store import IndexStore
from rerank_proxy.settings import Settings, load
from rerank_proxy.upstream.client import ElasticsearchClient
from tests.edge.samples import GET
from tests.support.raw_http import OK, Serve, Wire, answering, connect, raw_server
from tests.support.stores import Watched, refusal
from tests.support.tls import Authority, alerting_server, self_signed

CONNECT = "cannot connect to Elasticsearch at [URL]: "
NOT_TRUSTED = f"{CONNECT}its certificate is not trusted: "
HANDSHAKE = f"{CONNECT}the TLS handshake failed: "
AUTHORITY = "; name the authority that signed it with the setting [upstream.ca_certs]"
HOST = "; give [upstream.url], or [upstream.server_name], a host name that the certificate is for"
UNFIT = "; have another one issued: for servers, with RSA keys of 2048 bits or more, and with SHA-256"
TIME = "; have it renewed, or put the clock of this machine right"
RUNNING = "; check that it is running and that the setting [upstream.url] is right"
CLIENT = "; name one that it accepts with [upstream.client_cert] and [upstream.client_key]"
VERSION = "; have it speak TLS 1.2 or newer, or lower [upstream.min_tls_version]"
PIN = "; give [upstream.ca_fingerprint] that of its authority, if this is the right server"
MALFORMED = "sent a malformed answer: "
EXPECTS_TLS = "; when it expects TLS, begin [upstream.url] with https://"
LOOK = "; check its log, and what stands between it and the proxy"


async def speak(wire: Wire) -> None:
    await answering(OK)[0](wire)


async def answer_in_plain(wire: Wire) -> None:
    await wire.read_some()
    await wire.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")


async def hang_up(wire: Wire) -> None:
    await wire.read_some()


async def break_off(wire: Wire) -> None:
    """End within the body of an answer."""
    await wire.read_some()
    await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{")


async def send_a_chunk_without_size(wire: Wire) -> None:
    await wire.read_some()
    await wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{")


async def begin(wire: Wire) -> None:
    """End within the head of an answer."""
    await wire.read_some()
    await wire.send(b"HTTP/1.1 200")


async def alert(wire: Wire) -> None:
    """Answer as what expects TLS."""
    await wire.read_some()
    await wire.send(b"\x15\x03\x03\x00\x02\x02\x28")


async def reset(wire: Wire) -> None:
    await wire.read_some()
    wire.reset()


@dataclass(frozen=True)
class Place:
    """Where certificates are made."""

    directory: Path
    authority: Authority
    stranger: Authority


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    directory = tmp_path_factory.mktemp("tls")
    return Place(directory, Authority(directory), Authority(directory, "Stranger"))


MakeTls = Callable[[Place], ssl.SSLContext | None]


def plain(place: Place) -> None:
    return None


FAULTS: dict[str, tuple[Serve, MakeTls, str, str]] = {
    "a port without TLS": (
        answer_in_plain,
        plain,
        "https",
        f"{HANDSHAKE}it does not speak TLS; when it is meant to be plain HTTP, begin [upstream.url] with http://",
    ),
    "signed by itself": (
        speak,
        lambda place: self_signed(place.directory).server(),
        "https",
        f"{NOT_TRUSTED}self-signed certificate{AUTHORITY}",
    ),
    "signed by a stranger": (
        speak,
        lambda place: place.stranger.issue("theirs").server(),
        "https",
        f"{NOT_TRUSTED}unable to get local issuer certificate{AUTHORITY}",
    ),
    "for another name": (
        speak,
        lambda place: place.authority.issue("name", hosts=["es.example"]).server(),
        "https",
        f"{NOT_TRUSTED}it is for another host{HOST}",
    ),
    "for another address": (
        speak,
        lambda place: place.authority.issue("address", hosts=["127.0.0.9"]).server(),
        "https",
        f"{NOT_TRUSTED}it is for another host{HOST}",
    ),
    "expired": (
        speak,
        lambda place: place.authority.issue("old", begins_days=-3, ends_days=-1).server(),
        "https",
        f"{NOT_TRUSTED}certificate has expired{TIME}",
    ),
    "of tomorrow": (
        speak,
        lambda place: place.authority.issue("young", begins_days=1, ends_days=3).server(),
        "https",
        f"{NOT_TRUSTED}certificate is not yet valid{TIME}",
    ),
    "for clients": (
        speak,
        lambda place: place.authority.issue("theirs", purpose=ExtendedKeyUsageOID.CLIENT_AUTH).server(),
        "https",
        f"{NOT_TRUSTED}unsuitable certificate purpose{UNFIT}",
    ),
    "hangs up on TLS": (
        hang_up,
        plain,
        "https",
        f"{HANDSHAKE}it closed the connection{RUNNING}",
    ),
    "resets TLS": (
        reset,
        plain,
        "https",
        f"{CONNECT}connection reset by peer{RUNNING}",
    ),
    "TLS behind http": (
        speak,
        lambda place: place.authority.issue().server(),
        "http",
        f"Elasticsearch at [URL] closed the connection before it answered{LOOK}; when it expects TLS, begin "
        "[upstream.url] with https://",
    ),
}


async def test_the_port_is_closed(app_socket: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        await check_words(app_socket, {"url": url}, f"{CONNECT}connection refused{RUNNING}")


async def said_by_the_edge(settings: Settings, app_socket: Path) -> str:
    edge = Edge(settings, app_socket)
    await edge.start()
    try:
        async with connect(edge.address.port) as client:
            await client.send(GET)
            answer = await client.read_message()
    finally:
        await edge.stop()
    assert answer.status == 502
    return str(json.loads(answer.body)["error"]["reason"])


async def said_of_a_search(settings: Settings) -> str:
    client = ElasticsearchClient(settings.upstream, settings.search)
    try:
        with pytest.raises(ElasticsearchError) as raised:
            await client.request("GET", "/", b"", CIMultiDict())
    finally:
        await client.close()
    assert raised.value.status == 502
    return str(raised.value)


async def said_of_the_registry(settings: Settings) -> str:
    client = IndexClient(settings.upstream, settings.registry)
    async with Watched(IndexStore(client, "i", None, 3600.0)) as watched:
        failure = await refusal(watched.store.refresh())
    assert failure.status == 502
    return str(failure)


async def said_by_check(settings: Settings) -> dict[str, str]:
    lines: list[str] = []
    assert not await run_checks(settings, lines.append)
    return {line[:19]: line[19:] for line in lines}


@pytest.mark.parametrize(("serve", "tls", "scheme", "words"), FAULTS.values(), ids=FAULTS)
async def test_the_words_are_the_same_everywhere(
    app_socket: Path, place: Place, serve: Serve, tls: MakeTls, scheme: str, words: str
) -> None:
    async with raw_server(serve, tls=tls(place)) as server:
        url = f"{scheme}://127.0.0.1:{server.port}"
        await check_words(app_socket, {"url": url, "ca_certs": str(place.authority.path)}, words)


async def test_another_fingerprint(app_socket: Path, place: Place) -> None:
    async with raw_server(speak, tls=place.authority.issue().server()) as server:
        upstream = {"url": f"https://127.0.0.1:{server.port}", "ca_fingerprint": "00" * 32}
        why = "no certificate in its chain has the fingerprint that is set"
        await check_words(app_socket, upstream, f"{NOT_TRUSTED}{why}{PIN}")


@pytest.mark.parametrize(
    ("version", "why"),
    [
        (TLSVersion.TLSv1_3, "it requires a client certificate"),
        (TLSVersion.TLSv1_2, "it refuses what it was offered, or requires a client certificate"),
    ],
)
async def test_a_client_certificate_is_required(
    app_socket: Path, place: Place, version: TLSVersion, why: str
) -> None:
    server_tls = place.authority.issue().server(clients=place.authority, version=version)
    with alerting_server(server_tls) as port:
        upstream = {"url": f"https://127.0.0.1:{port}", "ca_certs": str(place.authority.path)}
        await check_words(app_socket, upstream, f"{HANDSHAKE}{why}{CLIENT}", also_registry=False)


async def test_a_client_certificate_of_a_stranger(app_socket: Path, place: Place) -> None:
    shown = place.stranger.issue("client")
    with alerting_server(place.authority.issue().server(clients=place.authority)) as port:
        upstream = {
            "url": f"https://127.0.0.1:{port}",
            "ca_certs": str(place.authority.path),
            "client_cert": str(shown.path),
            "client_key": str(shown.key_path),
        }
        why = "it does not trust the authority of the client certificate"
        await check_words(app_socket, upstream, f"{HANDSHAKE}{why}{CLIENT}", also_registry=False)


async def test_a_version_that_is_too_old(app_socket: Path, place: Place) -> None:
    with alerting_server(place.authority.issue().server(version=TLSVersion.TLSv1_2)) as port:
        upstream = {
            "url": f"https://127.0.0.1:{port}",
            "ca_certs": str(place.authority.path),
            "min_tls_version": "1.3",
        }
        why = "there is no version of TLS that both sides may speak"
        await check_words(app_socket, upstream, f"{HANDSHAKE}{why}{VERSION}")


async def check_words(
    app_socket: Path, upstream: dict[str, str], words: str, *, also_registry: bool = True
) -> None:
    """Check what is said by each.

    Args:
        also_registry: Its library tells of what is wrong, too; of an alert after the handshake it may not.
    """
    values = {"listen": "127.0.0.1:0", "upstream": upstream, "registry": {"store": "index"}}
    settings = load(None, values, {})
    expected = words.replace("URL", upstream["url"])
    assert await said_by_the_edge(settings, app_socket) == expected
    assert await said_of_a_search(settings) == expected
    in_registry = f"The registry of inference endpoints cannot be read: {expected}"
    if also_registry:
        assert await said_of_the_registry(settings) == in_registry
    checked = await said_by_check(settings)
    assert checked["upstream   failed  "] == expected
    if also_registry:
        assert checked["registry   failed  "] == f"{in_registry} [index rerank-proxy-endpoints]"


async def test_what_speaks_http_expects_no_tls(place: Place) -> None:
    said = f"Elasticsearch at [URL] %s{LOOK}"
    for serve, words in (
        (break_off, said % "broke off its answer"),
        (send_a_chunk_without_size, said % f"{MALFORMED}a chunk has no size"),
        (alert, said % f"{MALFORMED}its head holds a control character, or half a line end" + EXPECTS_TLS),
        (begin, said % "broke off its answer" + EXPECTS_TLS),
    ):
        async with raw_server(serve) as server:
            url = f"http://127.0.0.1:{server.port}"
            settings = load(None, {"upstream": {"url": url}}, {})
            assert await said_of_a_search(settings) == words.replace("URL", url)
