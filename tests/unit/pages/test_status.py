"""What the status page is told, of a proxy whose application answers, and of one whose does not."""

import json
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from rerank_proxy.app.online_metrics import OnlineMetrics
from rerank_proxy.app.recent import Recent
from rerank_proxy.edge.server import Edge
from rerank_proxy.engine import Engine
from rerank_proxy.http.messages import Response
from rerank_proxy.http.quiet_server import QuietServer
from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.endpoints import Endpoints
from rerank_proxy.online.memory import Compared
from rerank_proxy.settings import EngineSettings, ModelSettings, load
from tests.support.admin_pages import admin_pages
from tests.support.app_control import control_app
from tests.support.endpoints import MemoryStore

TOKEN = "secret-token-of-the-admin-port"
KEY = "c2VjcmV0LWtleS1zZWNyZXQta2V5LTEyMzQ1Njc4OTA="
VENDORS = {"api_key": "secret-of-a-vendor", "model_id": "m"}
SECRETS = {
    "admin": {"token": TOKEN},
    "registry": {"store": "index", "api_key": "secret-key-of-the-index", "key": KEY},
    "endpoints": {"theirs": {"service": "cohere", "service_settings": VENDORS}},
    "tls": {"key_password": "secret-password"},
}
OF_APP = {"models", "engine", "endpoints", "online", "recent"}
FIELDS = {"version", "started_at", "ready", "reason", "upstream", "settings"} | OF_APP


async def told(directory: Path, values: dict[str, Any], token: str = "") -> dict[str, Any]:
    settings = load(None, {"listen": "127.0.0.1:0", "upstream": "http://127.0.0.1:1", **values}, {})
    edge = Edge(settings, directory / "app.sock")
    async with admin_pages(edge, directory / "control.sock", settings) as pages:
        answer = await pages.get("/status.json", **({"Authorization": f"Bearer {token}"} if token else {}))
    assert answer.status == 200
    assert answer.field("cache-control") == "no-store"
    assert b"secret" not in answer.body
    assert KEY.encode() not in answer.body
    status: dict[str, Any] = json.loads(answer.body)
    assert status.keys() == FIELDS
    return status


async def test_without_an_application(tmp_path: Path) -> None:
    status = await told(tmp_path, {})
    assert (status["ready"], status["reason"]) == (False, "the reranking process is starting or restarting")
    assert [status[name] for name in ("models", "endpoints", "recent", "engine", "online")] == [
        [],
        [],
        [],
        {},
        {},
    ]


async def test_settings_that_differ_and_no_secrets(tmp_path: Path) -> None:
    status = await told(tmp_path, {**SECRETS, "search": {"timeout_s": 7}}, TOKEN)
    named = {row["name"]: row for row in status["settings"]}
    assert named["search.timeout_s"] == {"name": "search.timeout_s", "value": 7, "default": 30}
    assert named["admin.token"]["value"] == "••••"
    assert "search.deadline_s" not in named


@pytest.fixture
async def engine() -> Engine:
    return Engine({"m": ModelSettings(source="org/name", preload=False)}, EngineSettings())


async def test_with_an_application(tmp_path: Path, engine: Engine) -> None:
    recent, store = Recent(), MemoryStore()
    recent.add("/films/_search", Response(404), 0.5)
    unknown = EndpointConfig("gone", "no-such-service", {"model_id": "m"}, secrets={"api_key": "secret"})
    endpoints = Endpoints({}, [unknown], store)
    metrics = OnlineMetrics(CollectorRegistry())
    metrics.decided(Compared("interleaved", "e", "m"), "tie")
    app = control_app(engine, recent=recent, endpoints=endpoints, metrics=metrics)
    server = QuietServer(app, shutdown_timeout=1)
    await server.start()
    await server.listen(tmp_path / "control.sock")
    try:
        status = await told(tmp_path, {})
    finally:
        await server.stop()
    assert status["models"] == [
        {
            "name": "m", "state": "unloaded", "source": "org/name", "precision": None, "bytes": None,
            "last_used_s": None, "detail": "loaded from [org/name] by the next call that needs it",
        }
    ]  # fmt: skip
    (endpoint,) = status["endpoints"]
    assert (endpoint["inference_id"], endpoint["usable"]) == ("gone", False)
    assert endpoint["reason"] == "Unknown service [no-such-service] for model [gone]"
    (request,) = status["recent"]
    assert (request["kind"], request["status"], request["took_ms"]) == ("search", 404, 500.0)
    assert status["engine"]["queued_texts"] == 0
    assert status["engine"]["cache_bytes"] == 0
    assert [row["tie"] for row in status["online"]["interleaved"]] == [1]
