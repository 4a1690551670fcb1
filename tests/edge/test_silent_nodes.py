"""Nodes that take requests and do not answer: those that hang, and those that only take long."""

import asyncio
import logging
from pathlib import Path
from typing import Final

import pytest

from rerank_proxy.upstream import health, keeper, silence
from tests.edge.samples import BULK
from tests.edge.test_nodes import COUNT, fleet, named
from tests.support.raw_http import OK, TIMEOUT_S, Wire
from tests.support.waiting import until_true

HEAD: Final = b"HEAD / HTTP/1.1\r\nHost: "


class Stopped:
    """A node that takes everything, and answers when it goes on.

    Args:
        answers_head: It only takes long for its other requests.

    Attributes:
        taken: The requests.
    """

    def __init__(self, *, answers_head: bool = False) -> None:
        self.taken: list[bytes] = []
        self.goes_on = asyncio.Event()
        self._answers_head = answers_head

    async def serve(self, wire: Wire) -> None:
        while True:
            raw = (await wire.read_message()).raw
            self.taken.append(raw)
            if not (self._answers_head and raw.startswith(HEAD)):
                await asyncio.wait_for(self.goes_on.wait(), TIMEOUT_S)
            await wire.send(b"HTTP/1.1 401 x\r\n\r\n" if raw.startswith(HEAD) else OK)

    @property
    def asked(self) -> int:
        return sum(raw.startswith(HEAD) for raw in self.taken)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "LOOKED_AT_EVERY_S", 0.01)
    monkeypatch.setattr(silence, "SILENT_S", 0.05)
    monkeypatch.setattr(silence, "MOST_S", 0.2)
    monkeypatch.setattr(silence, "ANSWERS_IN_S", 0.05)
    monkeypatch.setattr(health, "FIRST_S", 0.05)
    monkeypatch.setattr(health, "MOST_S", 0.1)


@pytest.mark.parametrize("request_", [COUNT, BULK])
async def test_one_that_hangs_is_left_out_until_it_answers(
    tmp_path: Path, request_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    hangs = Stopped()
    async with fleet(tmp_path, hangs.serve, named(b"quick")) as started:
        url = started.servers[0].url
        waiting = []
        while not hangs.taken:
            client = await started.connect()
            await client.send(request_)
            read = asyncio.create_task(client.read_message())
            await until_true(lambda read=read: read.done() or bool(hangs.taken))  # type: ignore[misc]
            waiting.append(read)
        await until_true(lambda: started.metric("up", url) == 0, "it is left out")
        assert {(await started.ask(request_)).body for _ in range(8)} == {b"quick"}
        assert hangs.taken.count(request_) == 1
        await until_true(lambda: hangs.asked > 2, "that it is asked again")
        assert started.metric("up", url) == 0
        hangs.goes_on.set()
        assert {(await read).status for read in waiting} == {200}
        await until_true(lambda: started.metric("up", url) == 1, "it is used again")
        assert {(await started.ask(request_)).raw for _ in range(4)} > {OK}
    said = [record.getMessage() for record in caplog.records if url in record.getMessage()]
    assert said == [
        f"Elasticsearch at [{url}] takes requests and answers none; check its log, and that its machine runs "
        "(left out; 1 of 2 nodes remain)",
        f"Elasticsearch at [{url}] can be reached again",
    ]


async def test_one_that_takes_long_stays(tmp_path: Path) -> None:
    slow = Stopped(answers_head=True)
    async with fleet(tmp_path, slow.serve, slow.serve) as started:
        client = await started.connect()
        await client.send(COUNT)
        await until_true(lambda: slow.asked > 3, "that it is asked")
        assert all(started.metric("left_out_total", server.url) == 0 for server in started.servers)
        slow.goes_on.set()
        assert (await client.read_message()).raw == OK
        asked = slow.asked
        assert {(await started.ask(COUNT)).raw for _ in range(4)} == {OK}
    assert slow.asked <= asked + 1  # one may have been on its way
