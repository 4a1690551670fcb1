"""`POST /clicks` on the admin listener: who may send what, and what the application makes of it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from rerank_proxy.edge.listener import address_of, bind
from rerank_proxy.engine import Engine
from rerank_proxy.http.quiet_server import QuietServer
from rerank_proxy.observe.admin import Admin
from rerank_proxy.observe.admin_clicks import MAX_BODY, clicks_route
from rerank_proxy.observe.control import ControlClient
from rerank_proxy.observe.edge_metrics import EdgeMetrics
from rerank_proxy.observe.process_metrics import ProcessMetrics
from rerank_proxy.online.memory import Compared, Shown
from rerank_proxy.settings import Address, AdminSettings, EngineSettings
from tests.support.app_control import control_app
from tests.support.online import Online

TOKEN = "token-of-the-admin-port"
JSON = {"Content-Type": "application/json"}


@asynccontextmanager
async def admin_of(
    directory: Path, online: Online | None, **settings: Any
) -> AsyncIterator[aiohttp.ClientSession]:
    """An admin listener, and the control socket of an application, if there is one, that counts clicks."""
    socket = directory / "app.sock"
    client = ControlClient(socket)
    admin = Admin(client, ProcessMetrics(), EdgeMetrics(), lambda: None)
    admin.add([clicks_route(client)])
    listeners = bind(Address("127.0.0.1", 0))
    await admin.start(listeners, AdminSettings.model_validate(settings))
    app = control_app(Engine({}, EngineSettings()), clicks=(online or Online()).clicks)
    server = QuietServer(app, shutdown_timeout=1)
    await server.start()
    if online is not None:
        await server.listen(socket)
    async with aiohttp.ClientSession(f"http://{address_of(listeners)}") as session:
        yield session
    await server.stop()
    await admin.stop()


async def post(session: aiohttp.ClientSession, body: Any, **headers: str) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with session.post("/clicks", data=data, headers={**JSON, **headers}) as answer:
        assert answer.headers["Content-Type"].startswith("application/json")
        return answer.status, await answer.json()


def reason(answer: tuple[int, Any]) -> str:
    text: str = answer[1]["error"]["reason"]
    return text


async def test_several_searches_in_one_request(tmp_path: Path) -> None:
    online = Online(enabled=True)
    page = [Shown("films", id_, place, 4 - place) for place, id_ in enumerate("abc", 1)]
    ids = [online.memory.remember(Compared("reranked", "e", "m"), page) for _ in range(2)]
    clicks = [
        {"search": ids[0], "documents": ["c", "c", {"id": "b", "index": "films"}]},
        {"search": ids[1], "documents": ["a", "z"]},
        {"search": "x" * 24, "documents": ["a"]},
    ]
    async with admin_of(tmp_path, online) as session:
        answer = await post(session, {"clicks": clicks})
        assert answer == (200, {"clicks": {"counted": 3, "duplicate": 1, "not_shown": 1, "elsewhere": 1}})
        unknown = await post(session, {"clicks": clicks[2:]})
        assert unknown == (404, {"clicks": {"elsewhere": 1}})
    assert online.counted.ranks == {Compared("reranked", "e", "m"): (1 / 2 + 1, 1 + 1 / 3)}


async def test_it_takes_the_token(tmp_path: Path) -> None:
    async with admin_of(tmp_path, Online(enabled=True), token=TOKEN) as session:
        body = {"clicks": [{"search": "x", "documents": ["a"]}]}
        assert (await post(session, body))[0] == 401
        assert (await post(session, body, Authorization=f"Bearer {TOKEN}"))[0] == 404
        assert (await post(session, body, Authorization=f"Bearer {TOKEN}", Origin="http://x"))[0] == 403


async def test_what_is_refused(tmp_path: Path) -> None:
    async with admin_of(tmp_path, Online(enabled=True)) as session:
        assert (await post(session, b"{"))[0] == 400
        assert "$.clicks[0]" in reason(await post(session, {"clicks": [7]}))
        assert (await post(session, b"x" * (MAX_BODY + 1)))[0] == 413
        assert (await post(session, b"{}", **{"Content-Type": "text/plain"}))[0] == 415
        assert (await post(session, b"{}", **{"Content-Encoding": "gzip"}))[0] == 415

        async def pieces() -> AsyncIterator[bytes]:
            yield b"{}"

        async with session.post("/clicks", data=pieces(), headers=JSON) as answer:
            assert answer.status == 411
        async with session.get("/clicks") as answer:
            assert answer.status == 405


async def test_when_clicks_are_not_counted(tmp_path: Path) -> None:
    async with admin_of(tmp_path, Online(enabled=False)) as session:
        answer = await post(session, {"clicks": [{"search": "x", "documents": ["a"]}]})
        assert (answer[0], reason(answer)) == (400, "no clicks are counted: [online.enabled] is [false]")


@pytest.mark.parametrize("body", [b"", b"{}"])
async def test_while_the_application_is_away(tmp_path: Path, body: bytes) -> None:
    async with admin_of(tmp_path, None) as session:
        assert (await post(session, body))[0] == 503
