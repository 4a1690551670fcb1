"""What is sent a second time, and what is not: a call may have been paid for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rerank_proxy.inference.endpoints import Endpoint
from rerank_proxy.inference.failures import InferenceFailedError
from tests.support.raw_http import Wire, raw_server
from tests.support.remote import Remote
from tests.support.tls import Authority
from tests.support.vendors.raw import KEEP, RawVendor, Script, http, once, serving_raw

GOOD = http(b'[{"index": 0, "score": 1.5}]')
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
SAID: dict[str, tuple[bytes, ...]] = {
    "nothing": (),
    "one byte": (b"H",),
    "half a status line": (b"HTTP/1.1 20",),
    "half a head": (b"HTTP/1.1 200 OK\r\nContent-Le",),
    "an interim answer": (b"HTTP/1.1 100 Continue\r\n\r\n",),
    "a head": (HEAD,),
    "half a body": (HEAD, b"[{"),
    "half a refusal": (b"HTTP/1.1 503 X\r\nContent-Length: 100\r\n\r\n", b"{"),
    "half a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\n[{"),
}


@asynccontextmanager
async def calling(*scripts: Script) -> AsyncIterator[tuple[Remote, RawVendor, Endpoint]]:
    async with serving_raw() as vendor:
        vendor.scripts = list(scripts)
        remote = Remote()
        settings = {"api_key": "key-0123456789", "url": f"{vendor.url}/rerank"}
        try:
            yield remote, vendor, remote.endpoint("hugging_face", settings)
        finally:
            await remote.client.close()


async def scores(remote: Remote, endpoint: Endpoint) -> list[float] | str:
    try:
        return list((await endpoint.scores("q", ["a"], remote.deadline())).values)
    except InferenceFailedError as failure:
        return f"{failure.status}: {failure}"


def resent(remote: Remote) -> float:
    return remote.metric("resent_total", service="hugging_face")


@pytest.mark.parametrize("said", SAID)
async def test_a_call_on_a_fresh_connection_is_sent_once(said: str) -> None:
    async with calling(once(*SAID[said])) as (remote, vendor, endpoint):
        assert "the connection was closed before the whole answer came" in await scores(remote, endpoint)
        assert len(vendor.requests) == 1
        assert remote.clock.slept == []
        assert resent(remote) == 0


@pytest.mark.parametrize("said", set(SAID) - {"nothing"})
async def test_a_call_that_was_answered_with_a_byte_is_sent_once(said: str) -> None:
    async with calling(once(GOOD, KEEP), once(*SAID[said])) as (remote, vendor, endpoint):
        assert await scores(remote, endpoint) == [1.5]
        assert "the connection was closed before the whole answer came" in await scores(remote, endpoint)
        assert (len(vendor.requests), vendor.connections) == (2, 1)
        assert remote.clock.slept == []
        assert resent(remote) == 0


async def test_a_call_on_a_kept_connection_that_was_closed_is_sent_once_more_on_one_of_its_own() -> None:
    async with calling(once(GOOD, KEEP), once(), once(GOOD, KEEP)) as (remote, vendor, endpoint):
        for _ in range(2):
            assert await scores(remote, endpoint) == [1.5]
        assert (len(vendor.requests), vendor.connections) == (3, 2)
        assert sorted(vendor.requests[1].split(b"\r\n")) == sorted(
            line for line in vendor.requests[2].split(b"\r\n") if line != b"Connection: close"
        )
        assert resent(remote) == 1
        assert remote.metric("retries_total", service="hugging_face") == 0


async def test_there_is_no_third_time_however_many_connections_are_kept() -> None:
    async with calling(once(GOOD, KEEP)) as (remote, vendor, endpoint):
        await asyncio.gather(*(scores(remote, endpoint) for _ in range(5)))
        before = len(vendor.requests)
        vendor.scripts = [once()]
        assert "the connection was closed before the whole answer came" in await scores(remote, endpoint)
        assert len(vendor.requests) == before + 2
        assert resent(remote) == 1


async def test_a_refusal_is_tried_again_when_it_is_whole() -> None:
    busy = http(b'{"message": "busy"}', status="503 Busy")
    async with calling(once(busy, KEEP), once(GOOD, KEEP)) as (remote, vendor, endpoint):
        assert await scores(remote, endpoint) == [1.5]
        assert len(vendor.requests) == 2
        assert remote.clock.slept == [1]
        assert remote.metric("retries_total", service="hugging_face") == 1


async def test_a_connection_that_cannot_be_opened_is_tried_again() -> None:
    remote = Remote()
    settings = {"api_key": "key-0123456789", "url": "http://127.0.0.1:9/rerank"}
    assert "connection refused" in await scores(remote, remote.endpoint("hugging_face", settings))
    await remote.client.close()
    assert remote.clock.slept[:3] == [1, 2, 4]


async def test_what_comes_after_an_answer_is_not_the_next_one() -> None:
    """A server that sends two answers to one call must not answer the call of another endpoint with it."""
    late = http(b'[{"index": 0, "score": 9.0}]')
    async with calling(once(GOOD + late, KEEP), once(GOOD, KEEP)) as (remote, _, endpoint):
        for _ in range(3):
            assert await scores(remote, endpoint) == [1.5]


async def test_what_comes_later_is_not_the_next_answer_either() -> None:
    late = http(b'[{"index": 0, "score": 9.0}]')
    async with calling(once(GOOD, KEEP)) as (remote, vendor, endpoint):
        assert await scores(remote, endpoint) == [1.5]
        await vendor.interrupt(late)
        assert await scores(remote, endpoint) == [1.5]
        assert vendor.connections == 2


@pytest.mark.parametrize(
    ("has_tls", "words"),
    [
        (False, "the TLS handshake failed: it does not speak TLS"),
        (True, "its certificate is not trusted: unable to get local issuer certificate"),
    ],
)
async def test_what_tls_says_is_said(tmp_path: Path, has_tls: bool, words: str) -> None:
    tls = Authority(tmp_path).issue().server() if has_tls else None

    async def serve(wire: Wire) -> None:
        await wire.read_some()
        await wire.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

    async with raw_server(serve, tls=tls) as server:
        remote = Remote()
        url = f"https://127.0.0.1:{server.port}/rerank"
        endpoint = remote.endpoint("hugging_face", {"api_key": "k", "url": url})
        assert str(await scores(remote, endpoint)).endswith(words)
        assert remote.clock.slept == []
        await remote.client.close()
