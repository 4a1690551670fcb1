"""What the ports of the proxy answer to nonsense: not what serves them."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from rerank_proxy.edge.listener import bind
from rerank_proxy.edge.server import Edge
from rerank_proxy.engine import Engine
from rerank_proxy.http.quiet_server import QuietServer
from rerank_proxy.observe.admin import Admin
from rerank_proxy.observe.control import ControlClient
from rerank_proxy.observe.edge_metrics import EdgeMetrics
from rerank_proxy.observe.process_metrics import ProcessMetrics
from rerank_proxy.settings import Address, AdminSettings, load
from tests.support.app_control import control_app
from tests.support.raw_http import TIMEOUT_S, Message, Wire

Connect = Callable[[], AbstractAsyncContextManager[Wire]]

SENT = {
    **{
        path: f"GET {path} HTTP/1.1\r\nHost: [::1]\r\n\r\n".encode()
        for path in ("/live", "/ready", "/metrics")
    },
    "an old client": b"GET /ready HTTP/1.0\r\n\r\n",
    "without the body": b"HEAD /metrics HTTP/1.1\r\nHost: [::1]\r\n\r\n",
    "no such path": b"GET /nothing/here HTTP/1.1\r\nHost: [::1]\r\n\r\n",
    "a browser": b"GET /nothing/here HTTP/1.1\r\nHost: [::1]\r\nAccept: text/html\r\n\r\n",
    "no such method": b"BREW / HTTP/1.1\r\nHost: [::1]\r\n\r\n",
    "a method of others": b"DELETE /live HTTP/1.1\r\nHost: [::1]\r\n\r\n",
    "options": b"OPTIONS * HTTP/1.1\r\nHost: [::1]\r\n\r\n",
    "tunnel": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: [::1]\r\n\r\n",
    "trace": b"TRACE /ready HTTP/1.1\r\nHost: [::1]\r\n\r\n",
    "no method": b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    "method in parentheses": b"(GET) / HTTP/1.1\r\nHost: [::1]\r\n\r\n",
    "no target": b"GET HTTP/1.1\r\nHost: [::1]\r\n\r\n",
    "a target with a space": b"GET /a b HTTP/1.1\r\nHost: [::1]\r\n\r\n",
    "a target with bytes": b"GET /\xc3\xa9\xff HTTP/1.1\r\nHost: [::1]\r\n\r\n",
    "a target with a line feed": b"GET /%0a%00 HTTP/1.1\r\nHost: [::1]\r\n\r\n",
    "an absolute target": b"GET http://[::1 HTTP/1.1\r\nHost: [::1]\r\n\r\n",
    "a long target": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: [::1]\r\n\r\n",
    "another version": b"GET / HTTP/9.9\r\nHost: [::1]\r\n\r\n",
    "an old version": b"GET /nothing HTTP/1.0\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a bad header": b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    "a header with a NUL": b"GET / HTTP/1.1\r\nHost: [::1]\r\nX: a\x00b\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: [::1]\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
    "a long header": b"GET / HTTP/1.1\r\nHost: [::1]\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
    "a bad length": b"POST /live HTTP/1.1\r\nHost: [::1]\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"POST /live HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "length and chunks": (
        b"POST / HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a bad chunk": b"POST /a HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "an unknown coding": b"POST /a HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: brew\r\n\r\n",
    "an expectation": b"GET /live HTTP/1.1\r\nHost: [::1]\r\nExpect: coffee\r\n\r\n",
    "an upgrade": b"GET /no HTTP/1.1\r\nHost: [::1]\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "head": b"HEAD /nothing/here HTTP/1.1\r\nHost: [::1]\r\n\r\n",
}


@asynccontextmanager
async def tcp(address: Address) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection(address.host, address.port)
    yield Wire(reader, writer)
    writer.transport.abort()


@asynccontextmanager
async def unix(path: Path) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_unix_connection(path)
    yield Wire(reader, writer)
    writer.transport.abort()


@asynccontextmanager
async def admin_port(directory: Path) -> AsyncIterator[Connect]:
    admin = Admin(ControlClient(directory / "no-application"), ProcessMetrics(), EdgeMetrics(), lambda: None)
    sockets = bind(Address("127.0.0.1", 0))
    port = sockets[0].getsockname()[1]
    await admin.start(sockets, AdminSettings())
    yield lambda: tcp(Address("127.0.0.1", port))
    await admin.stop()


@asynccontextmanager
async def control_socket(directory: Path) -> AsyncIterator[Connect]:
    engine = Engine({}, load(None, {}, {}).engine)
    server = QuietServer(control_app(engine), shutdown_timeout=1)
    await server.start()
    await server.listen(directory / "control.sock")
    yield lambda: unix(directory / "control.sock")
    await server.stop()


@asynccontextmanager
async def clients_port(directory: Path) -> AsyncIterator[Connect]:
    """What reaches neither upstream nor the application is answered by the edge."""
    settings = load(None, {"listen": "127.0.0.1:0", "upstream": {"url": "http://127.0.0.1:1"}}, {})
    edge = Edge(settings, directory / "no-application")
    await edge.start()
    yield lambda: tcp(edge.address)
    await edge.stop()


@pytest.mark.parametrize("sent", SENT.values(), ids=SENT)
@pytest.mark.parametrize("port", [admin_port, control_socket, clients_port])
async def test_no_answer_tells_what_serves_it(
    port: Callable[[Path], AbstractAsyncContextManager[Connect]], sent: bytes, tmp_path: Path
) -> None:
    async with port(tmp_path) as connect, connect() as wire:
        await wire.send(sent)
        answer = await wire.read_message(has_body=not sent.startswith(b"HEAD"))
    assert not re.search(rb"\r\n(Server|Via|X-Powered-By):", answer.head, re.IGNORECASE)
    # The metrics tell the version of Python to those who may read them.
    told = answer.head if b"/metrics" in sent else answer.raw
    assert not re.search(rb"aiohttp|python|uvloop|<html|traceback", told, re.IGNORECASE)
    assert answer.first_line.startswith(b"HTTP/1.1 ") or b"HTTP/1.1" not in sent
    if answer.status >= 400 and answer.body and b"/ready" not in sent:
        error = json.loads(answer.body)
        assert error["status"] == answer.status
        # Elasticsearch's dispatcher says a 405 in a text alone.
        assert answer.status == 405 or list(error["error"]["root_cause"][0]) == ["type", "reason"]


async def ask(app: web.Application, sent: bytes, path: Path) -> tuple[Message, bool]:
    """The answer, and whether the connection ended after it."""
    server = QuietServer(app, shutdown_timeout=1)
    await server.start()
    await server.listen(path)
    async with unix(path) as wire:
        await wire.send(sent)
        answer = await wire.read_message()
        ended = answer.field("connection") == "close" and await wire.ended()
    await server.stop()
    return answer, ended


async def test_a_defect_is_logged_and_told_without_what_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(request: web.Request) -> web.Response:
        raise ZeroDivisionError("by nought")

    app = web.Application()
    app.router.add_get("/", fail)
    async with asyncio.timeout(TIMEOUT_S):
        answer, ended = await ask(app, b"GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n", tmp_path / "socket")
    assert (answer.status, ended) == (500, True)
    assert b"nought" not in answer.raw
    assert json.loads(answer.body)["error"]["reason"] == "rerank-proxy failed; its log has the details"
    assert "ZeroDivisionError: by nought" in caplog.text


async def test_a_method_that_is_not_served_says_which_are(tmp_path: Path) -> None:
    async def answer_it(request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/", answer_it)
    answer, _ = await ask(app, b"PUT / HTTP/1.1\r\nHost: [::1]\r\n\r\n", tmp_path / "socket")
    assert (answer.status, answer.field("allow")) == (405, "GET,HEAD")
