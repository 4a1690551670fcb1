"""The store on a real Valkey."""

import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import exceptions

from rerank_proxy.engine.shared_cache.redis_store import RedisStore
from rerank_proxy.engine.shared_cache.store import RefusedError
from rerank_proxy.files.regular import UnfitFileError
from rerank_proxy.settings.sections.shared_cache import SharedCacheSettings
from tests.support.tls import Authority
from tests.support.valkey import CLOSES, behind_tls, misbehaving, valkey

TTL_S = 1000
VALUES = {b"a\x00\r\n\xff": b"\r\n\x00", b"b": b""}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    allowed = "on >secret ~* resetchannels -@all +mget +set +ping"  # as docs/shared-cache.md says
    with valkey("--requirepass", "common", "--user", "proxy", *allowed.split()) as port:
        yield port


@asynccontextmanager
async def store(url: str, **settings: Any) -> AsyncIterator[RedisStore]:
    opened = RedisStore(SharedCacheSettings(url=url, **settings))
    try:
        await opened.connect()
        yield opened
    finally:
        await opened.close()


async def test_what_is_put_is_got_for_a_time(port: int) -> None:
    async with store(f"redis://127.0.0.1:{port}/3", password="common") as opened:
        await opened.put_many(VALUES, TTL_S)
        assert await opened.get_many([*VALUES, b"missing"]) == [*VALUES.values(), None]
        assert 0 < await opened._client.ttl("b") <= TTL_S
    async with store(f"redis://127.0.0.1:{port}", password="common") as other_database:
        assert await other_database.get_many(list(VALUES)) == [None, None]


async def test_the_file_of_the_password_may_be_replaced(port: int, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("wrong\n")
    settings = SharedCacheSettings(url=f"redis://127.0.0.1:{port}", username="proxy", password_file=file)
    opened = RedisStore(settings)
    with pytest.raises(exceptions.AuthenticationError, match="invalid username-password"):
        await opened.connect()
    file.unlink()
    os.mkfifo(file)  # which holds up the event loop if it is waited for
    with pytest.raises(UnfitFileError, match="password: is a named pipe"):
        await opened.connect()
    file.unlink()
    file.write_text("secret\n")
    await opened.connect()
    await opened.close()


async def test_tls_is_checked(port: int, tmp_path: Path) -> None:
    trusted = Authority(tmp_path)
    given = {"username": "proxy", "password": "secret"}
    async with behind_tls(port, trusted.issue().server()) as tls_port:
        async with store(f"rediss://localhost:{tls_port}", ca_certs=trusted.path, **given) as opened:
            await opened.put_many({b"k": b"v"}, TTL_S)
            assert await opened.get_many([b"k"]) == [b"v"]
        with pytest.raises(exceptions.ConnectionError, match="certificate"):
            async with store(f"rediss://localhost:{tls_port}", **given):
                pass
    async with behind_tls(port, trusted.issue("other", hosts=["other.example"]).server()) as tls_port:
        with pytest.raises(exceptions.ConnectionError, match="certificate"):
            async with store(f"rediss://localhost:{tls_port}", ca_certs=trusted.path, **given):
                pass


async def test_a_full_server_refuses_and_is_read_on() -> None:
    with valkey("--maxmemory-policy", "noeviction") as port:
        async with store(f"redis://127.0.0.1:{port}") as opened:
            await opened.put_many({b"k": b"v"}, TTL_S)
            await opened._client.config_set("maxmemory", "1")
            with pytest.raises(RefusedError, match="maxmemory"):
                await opened.put_many({b"l": b"v"}, TTL_S)
            assert await opened.get_many([b"k", b"l"]) == [b"v", None]


@pytest.mark.parametrize(
    "answer",
    [
        b":3\r\n",
        b"*1\r\n$1\r\nx\r\n",
        b"+OK\r\n",
        b"\x00\xff\r\n\r\n",
        b"-MOVED 1 other:1\r\n",
        b"*2\r\n$9\r\n" + CLOSES,
    ],
)
async def test_what_does_not_answer_as_redis_does(answer: bytes) -> None:
    async with misbehaving(lambda _: answer) as server, store(f"redis://127.0.0.1:{server.port}") as opened:
        with pytest.raises((exceptions.RedisError, ValueError)):
            await opened.get_many([b"a", b"b"])


def test_nothing_shows_the_password(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    settings = SharedCacheSettings(url="redis://127.0.0.1:1", password="hidden")
    opened = RedisStore(settings)
    assert (
        "hidden" not in f"{settings} {settings!r} {settings.model_dump_json()} {vars(opened)} {caplog.text}"
    )
