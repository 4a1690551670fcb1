"""A supervisor as a real process, with a stand-in for the application's."""

import asyncio
import json
import os
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.support.raw_http import OK, TIMEOUT_S, Message, answering, connect, raw_server
from tests.support.waiting import until_true

GET = b"GET /i/_doc/1 HTTP/1.1\r\n\r\n"
SEARCH = b"GET /i/_search?source=text_similarity_reranker HTTP/1.1\r\n\r\n"
SLOW_SEARCH = SEARCH.replace(b"/i/", b"/slow/")


class Supervised:
    """A running supervisor."""

    def __init__(self, process: Process, directory: Path, ports: tuple[int, int]) -> None:
        self.process = process
        self.directory = directory
        self.port, self.admin_port = ports

    async def ask(self, request: bytes, port: int | None = None) -> Message:
        async with connect(port or self.port) as wire:
            await wire.send(request)
            return await wire.read_message()

    async def probe(self, path: str) -> tuple[int, Any]:
        answer = await self.ask(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(), self.admin_port)
        return answer.status, json.loads(answer.body)

    async def metrics(self) -> str:
        return (
            await self.ask(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", self.admin_port)
        ).body.decode()

    async def app(self, other_than: int = 0) -> dict[str, Any]:
        """What the application's process says about itself, once it serves."""
        written = self.directory / "pid"
        await until_true(
            lambda: written.exists() and json.loads(written.read_text())["pid"] != other_than, "app"
        )
        info: dict[str, Any] = json.loads(written.read_text())
        return info

    async def exit_status(self) -> int:
        return await asyncio.wait_for(self.process.wait(), TIMEOUT_S)

    async def logged(self, text: str) -> None:
        """Wait until the log says it."""
        assert self.process.stderr is not None
        async with asyncio.timeout(TIMEOUT_S):
            while text not in (line := (await self.process.stderr.readline()).decode()):
                assert line, f"the log ended without {text!r}"


class Supervise(Protocol):
    def __call__(self, settings: Mapping[str, Any] | None = None) -> Awaitable[Supervised]: ...


async def launch(directory: Path, settings: Mapping[str, Any], **environment: str) -> Process:
    values = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", **settings}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.support.supervised", json.dumps(values), str(directory)),
        stderr=PIPE,
        env={**os.environ, **environment},
        start_new_session=True,
    )


async def refused(directory: Path, settings: Mapping[str, Any], **environment: str) -> str:
    """Return what a supervisor says that cannot start."""
    process = await launch(directory, settings, **environment)
    _, log = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    assert process.returncode == 1
    assert not (directory / "pid").exists()
    return log.decode()


@pytest.fixture
async def supervise(tmp_path: Path) -> AsyncIterator[Supervise]:
    async with AsyncExitStack() as stack:
        serve, _ = answering(OK)
        upstream = await stack.enter_async_context(raw_server(serve))

        async def start(settings: Mapping[str, Any] | None = None) -> Supervised:
            (tmp_path / "tmp").mkdir(exist_ok=True)
            settings = {"upstream": upstream.url, **(settings or {})}
            process = await launch(tmp_path, settings, TMPDIR=str(tmp_path / "tmp"))
            stack.push_async_callback(end, process)
            assert process.stderr is not None
            line = (await asyncio.wait_for(process.stderr.readline(), TIMEOUT_S)).decode()
            is_json = settings.get("log", {}).get("format") == "json"
            said = f"rerank-proxy: {json.loads(line)['message']}\n" if is_json else line
            match = re.fullmatch(
                r"rerank-proxy: listening on 127\.0\.0\.1:(\d+), admin on 127\.0\.0\.1:(\d+), "
                r"upstream (.*)\n",
                said,
            )
            assert match is not None, line + (await process.stderr.read()).decode()
            assert match[3] == settings["upstream"]
            return Supervised(process, tmp_path, (int(match[1]), int(match[2])))

        yield start


async def until_not_ready(proxy: Supervised) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while (await proxy.probe("/ready"))[0] == 200:
            pass


async def end(process: Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()
