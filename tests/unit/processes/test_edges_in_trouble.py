"""Processes that serve the port and do not answer the supervisor: they are starting, or stuck."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rerank_proxy.edge.listener import address_of, bind
from rerank_proxy.observe.control import ControlClient
from rerank_proxy.observe.process_metrics import ProcessMetrics
from rerank_proxy.processes import answering
from rerank_proxy.processes.edges import OtherEdges
from rerank_proxy.settings import Address, Settings, load
from tests.support.processes import children
from tests.support.raw_http import TIMEOUT_S, connect
from tests.support.waiting import until_true


class Counted(ControlClient):
    """Counts the answers that it has had."""

    answers = 0

    async def get(self, path: str, timeout_s: float = 2.0) -> tuple[int, bytes] | None:
        answer = await super().get(path, timeout_s)
        self.answers += answer is not None
        return answer


LONG = b"GET / HTTP/1.1\r\nx: %b\r\n\r\n" % (b"x" * 2000)


def settings_of(port: int, max_head: str) -> Settings:
    values = {"processes": 2, "max_head": max_head}
    return load(None, {"listen": f"127.0.0.1:{port}", "upstream": "http://127.0.0.1:1", "edge": values}, {})


@asynccontextmanager
async def other_edge(directory: Path, metrics: ProcessMetrics) -> AsyncIterator[tuple[OtherEdges, int]]:
    """Start one process beside none, and give its port."""
    sockets = bind(Address("127.0.0.1", 0), shared=True)  # it only finds a port
    port = address_of(sockets).port
    for each in sockets:
        each.close()
    started = OtherEdges(2, directory / "app.sock", directory, metrics)
    started.start(settings_of(port, "64KiB"))
    try:
        yield started, port
    finally:
        await started.stop(TIMEOUT_S)


async def until_it_answers(started: OtherEdges) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while await started.controls[0].get("/live") is None:
            pass


async def status_of_long_head(port: int) -> int:
    async with connect(port) as wire:
        await wire.send(LONG)
        return (await wire.read_message()).status


async def test_one_that_is_starting_has_new_settings_once_it_serves(tmp_path: Path) -> None:
    async with other_edge(tmp_path, ProcessMetrics()) as (started, port):
        await started.use(settings_of(port, "1KiB"))  # it has got the earlier ones already
        await until_it_answers(started)
        async with asyncio.timeout(TIMEOUT_S):
            while await status_of_long_head(port) != 400:
                pass


async def test_one_that_is_stuck_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(answering, "ASKED_EVERY_S", 0.02)
    before = set(children(os.getpid()))
    metrics = ProcessMetrics()
    async with other_edge(tmp_path, metrics) as (started, port):
        await until_it_answers(started)
        (kept,) = started._kept
        control = Counted(started.sockets[0])
        kept.watch(control, "/live", 0.5, from_start=False)
        await until_true(lambda: control.answers > 0, "an answer")
        (pid,) = set(children(os.getpid())) - before
        os.kill(pid, signal.SIGSTOP)
        await until_true(lambda: metrics.edge_restarts == 1, "its end")
        await until_true(lambda: bool(set(children(os.getpid())) - before - {pid}), "its successor")
        await until_it_answers(started)
        assert await status_of_long_head(port) == 502  # upstream is down, but it serves
    (said,) = caplog.messages
    assert said.startswith(
        "a process that serves clients was ended, as it had not answered for 0.5 s; it is "
    )
