"""Connections that are made to one of several nodes: who is told, how often, and what is kept."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.http.connection_faults import connection_fault
from rerank_proxy.upstream import pool as pool_module
from rerank_proxy.upstream.connection import UpstreamConnection
from rerank_proxy.upstream.pool import Attempt, Pool
from rerank_proxy.upstream.targets import P, TargetError, UnixTarget
from tests.support.waiting import until_true


class Door(UnixTarget):
    """A node that connects when its door is opened, and refuses when it is shut.

    Attributes:
        doors: By name; that of a node that was tried exists.
        far: The other ends of connections.
    """

    doors: ClassVar[dict[str, asyncio.Future[None]]] = {}
    far: ClassVar[list[socket.socket]] = []

    async def open(self, factory: Callable[[], P]) -> P:
        assert self.name not in self.doors, "tried twice"
        door = self.doors[self.name] = asyncio.get_running_loop().create_future()
        await door
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.far.append(theirs)
        _, connection = await asyncio.get_running_loop().create_unix_connection(factory, sock=ours)
        return connection


class Client:
    """Waits for a connection.

    Attributes:
        told: What it was told.
    """

    def __init__(self) -> None:
        self.told: list[UpstreamConnection | TargetError] = []

    def connected(self, connection: UpstreamConnection) -> None:
        self.told.append(connection)

    def connect_failed(self, error: TargetError) -> None:
        self.told.append(error)


@asynccontextmanager
async def attempt(
    *names: str, max_idle: int = 9, stalled_s: float = 0.001
) -> AsyncIterator[tuple[Pool, Client, Attempt]]:
    """Let a client ask for a connection to one of these nodes."""
    Door.doors.clear()
    targets = [Door(Path(name)) for name in names]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool_module, "STALLED_S", stalled_s)
        pool = Pool(*targets, connect_timeout_s=3600, idle_timeout_s=60, max_idle=max_idle)
        client = Client()
        yield pool, client, pool.connect(client)
        await pool.close()
    for end in Door.far:
        end.close()
    Door.far.clear()


async def tried(count: int) -> None:
    await until_true(lambda: len(Door.doors) == count)


async def test_one_that_stalls_is_passed_by_and_its_connection_is_kept_when_it_comes() -> None:
    async with attempt("a", "b", "c") as (pool, client, _):
        await tried(2)
        Door.doors["b"].set_result(None)
        await until_true(lambda: bool(client.told))
        (connection,) = client.told
        assert isinstance(connection, UpstreamConnection)
        assert connection.owner is pool.nodes[1]
        Door.doors["a"].set_result(None)
        await until_true(lambda: pool.idle == 1)
        assert pool.acquire(pool.nodes[0]) is not None
        assert len(client.told) == 1


async def test_one_that_fails_makes_the_next_be_tried_at_once() -> None:
    async with attempt("a", "b", stalled_s=3600) as (pool, client, _):
        await tried(1)
        Door.doors["a"].set_exception(ConnectionResetError())
        await tried(2)
        Door.doors["b"].set_result(None)
        await until_true(lambda: bool(client.told))
        assert [node.health.is_out for node in pool.nodes] == [True, False]


async def test_all_fail_though_one_is_late() -> None:
    async with attempt("a", "b") as (_, client, _):
        await tried(2)
        Door.doors["b"].set_exception(ConnectionRefusedError(111, ""))
        await asyncio.sleep(0)
        assert client.told == []
        Door.doors["a"].set_exception(TimeoutError())
        await until_true(lambda: bool(client.told))
        (error,) = client.told
        assert isinstance(error, TargetError)
        assert error.fault == connection_fault(ConnectionRefusedError(111, ""))
        assert [target.name for target in (error.target, *error.others)] == ["b", "a"]


@pytest.mark.parametrize(("max_idle", "go_on"), [(9, 2), (1, 1)])
async def test_what_goes_on_without_its_client_is_bounded(max_idle: int, go_on: int) -> None:
    async with attempt("a", "b", "c", max_idle=max_idle, stalled_s=0.001) as (pool, client, asked):
        await tried(2)
        asked.abandon()
        await until_true(lambda: sum(node.connecting for node in pool.nodes) == go_on)
        assert client.told == []
        assert "c" not in Door.doors


OUTCOMES = st.lists(st.sampled_from(["connects", "fails", "hangs"]), min_size=1, max_size=6)


@given(OUTCOMES)
async def test_a_client_is_told_once_and_each_node_is_tried_once_at_most(outcomes: list[str]) -> None:
    names = [f"{number} {outcome}" for number, outcome in enumerate(outcomes)]
    async with attempt(*names, stalled_s=0.0) as (pool, client, _):
        hangs, connects = outcomes.count("hangs"), outcomes.count("connects")
        done: set[str] = set()

        def goes_on() -> bool:
            for name in set(Door.doors) - done:
                done.add(name)
                door = Door.doors[name]
                if name.endswith("connects"):
                    door.set_result(None)
                elif name.endswith("fails"):
                    door.set_exception(ConnectionRefusedError(111, ""))
            return bool(client.told) or len(Door.doors) == len(outcomes)

        await until_true(goes_on)
        if connects or not hangs:
            await until_true(lambda: goes_on() and bool(client.told))
            (told,) = client.told
            assert isinstance(told, UpstreamConnection if connects else TargetError)
        else:
            assert client.told == []
        for node in pool.nodes:
            assert not (node.health.is_out and node.target.name.endswith("connects"))
