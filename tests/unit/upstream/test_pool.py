"""The pool on real sockets, at moments when the loop has not turned yet."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest

from rerank_proxy.upstream.connection import UpstreamConnection
from rerank_proxy.upstream.pool import Pool, Waiter
from rerank_proxy.upstream.targets import P, UnixTarget


async def connected(pool: Pool) -> tuple[UpstreamConnection, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    _, connection = await asyncio.get_running_loop().create_unix_connection(
        lambda: UpstreamConnection(pool.nodes[0]), sock=ours
    )
    return connection, theirs


def make_pool(max_idle: int = 9) -> Pool:
    return Pool(UnixTarget(Path("/absent")), connect_timeout_s=1, idle_timeout_s=60, max_idle=max_idle)


async def test_newest_first() -> None:
    pool = make_pool()
    first, one = await connected(pool)
    second, other = await connected(pool)
    with one, other:
        first.owner.release(first)
        second.owner.release(second)
        assert (pool.idle, pool.busy) == (2, 0)
        assert pool.acquire() is second
        assert (pool.idle, pool.busy) == (1, 1)
        assert pool.acquire() is first
        assert pool.acquire() is None
        await pool.close()
    assert (pool.idle, pool.busy) == (0, 0)


@pytest.mark.parametrize("event", ["end", "bytes"])
async def test_a_connection_that_ended_is_not_used_even_before_the_loop_knows(event: str) -> None:
    """Otherwise a request that must not be sent twice would be lost."""
    pool = make_pool()
    connection, theirs = await connected(pool)
    with theirs:
        connection.owner.release(connection)
        if event == "end":
            theirs.shutdown(socket.SHUT_WR)
        else:
            theirs.send(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        assert pool.acquire() is None
        await pool.close()


async def test_no_more_are_kept_than_set_and_none_after_the_end() -> None:
    pool = make_pool(max_idle=1)
    first, one = await connected(pool)
    second, other = await connected(pool)
    third, another = await connected(pool)
    with one, other, another:
        first.owner.release(first)
        second.owner.release(second)
        assert pool.idle == 1
        await pool.close()
        third.owner.release(third)
        assert (pool.idle, pool.busy) == (0, 0)


async def test_unused_ones_are_closed_oldest_first() -> None:
    pool = make_pool()
    first, one = await connected(pool)
    second, other = await connected(pool)
    with one, other:
        first.owner.release(first)
        first.idle_since = 100.0
        second.owner.release(second)
        second.idle_since = 130.0
        pool.close_unused(159.9)
        assert pool.idle == 2
        pool.close_unused(160.0)
        assert pool.idle == 1
        assert pool.acquire() is second
        await pool.close()


class Silent(UnixTarget):
    """One that does not answer."""

    attempts = 0

    async def open(self, factory: Callable[[], P]) -> P:
        Silent.attempts += 1
        try:
            await asyncio.Event().wait()
        finally:
            Silent.attempts -= 1
        raise AssertionError


async def test_of_attempts_whose_clients_left_no_more_go_on_than_are_kept() -> None:
    pool = Pool(Silent(Path("/absent")), connect_timeout_s=3600, idle_timeout_s=60, max_idle=3)
    waiters = [Mock(spec=Waiter) for _ in range(20)]
    for waiter in waiters:
        attempt = pool.connect(waiter)
        await asyncio.sleep(0)
        attempt.abandon()
        await asyncio.sleep(0)
    assert Silent.attempts == 3
    assert not any(waiter.mock_calls for waiter in waiters)
    await pool.close()
    assert Silent.attempts == 0
