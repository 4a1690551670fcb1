"""With `engine.offline` nothing is connected to but upstream and the endpoints of the settings."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from testbed.proxy import RunningProxy
from testbed.stand_in import running_upstream
from tests.models.conftest import TinyModel
from tests.support.connections import watched_connections
from tests.support.raw_http import TIMEOUT_S
from tests.support.waiting import until

HITS: Final = [
    {"_index": "i", "_id": str(at), "_score": 1.0, "fields": {"text": [text]}, "_source": {"text": text}}
    for at, text in enumerate(("rivers", "hills"))
]
FOUND: Final = {
    "took": 1,
    "timed_out": False,
    "_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0},
    "hits": {"total": {"value": 2, "relation": "eq"}, "max_score": 1.0, "hits": HITS},
}
RANKED: Final = {"results": [{"index": at, "relevance_score": at / 2} for at in range(2)]}


def told(path: str) -> object | None:
    """Answer for Elasticsearch, and for Jina AI."""
    if path.startswith("/v1/rerank"):
        return RANKED
    if "_search" in path:
        return FOUND
    if path == "/":
        return {"version": {"number": "9.5.0"}, "tagline": "You Know, for Search"}
    return None


def address(url: str) -> tuple[str, int]:
    return "127.0.0.1", urlsplit(url).port or 0


def search(inference_id: str) -> dict[str, Any]:
    reranker = {
        "retriever": {"standard": {"query": {"match_all": {}}}},
        "field": "text",
        "inference_id": inference_id,
        "inference_text": "rivers",
    }
    return {"retriever": {"text_similarity_reranker": reranker}}


def settings(upstream: str, vendor: str, model: Path, state: Path) -> dict[str, Any]:
    return {
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "upstream": upstream,
        "models": {
            "here": str(model),
            "of-a-hub": "someone/absent-reranker",
            "of-a-repository": "https://ml-models.elastic.co",
        },
        "endpoints": {
            "local": "here",
            "remote": {"service": "jinaai", "service_settings": {"api_key": "k", "model_id": "m"}},
        },
        "remote": {"base_urls": {"jinaai": vendor}, "allow_private_addresses": True},
        "engine": {"offline": True, "device": "cpu", "artifacts_dir": str(state / "artifacts")},
        "search": {"check_privileges": False},
        "state_dir": str(state),
    }


def test_nothing_is_connected_to_but_what_the_settings_name(
    tmp_path: Path, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    """From the start over loads, searches and a reload to the end, with the processes of the command line."""
    model = tiny_model("bert")
    with (
        running_upstream(told) as upstream,
        running_upstream(told) as vendor,
        watched_connections(tmp_path) as watched,
    ):
        for name, value in watched.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
        config = tmp_path / "settings.yaml"
        config.write_text(json.dumps(settings(upstream, vendor, model, tmp_path / "state")))
        monkeypatch.setenv("RERANK_PROXY_CONFIG", str(config))

        proxy = RunningProxy(upstream, state_dir=tmp_path / "state").start()
        try:
            until(lambda: settled(proxy) or None, "models")
            states = proxy.readiness()["models"]
            assert {name: state["state"] for name, state in states.items()} == {
                "here": "ready",
                "of-a-hub": "failed",
                "of-a-repository": "failed",
            }
            for name in ("of-a-hub", "of-a-repository"):
                assert "engine.offline is set" in states[name]["detail"]
            for inference_id in ("local", "remote"):
                answer = proxy.server.call("POST", "/i/_search", search(inference_id))
                assert answer.status == 200, answer.body
                assert len(answer.json()["hits"]["hits"]) == 2
            assert proxy.process is not None
            os.kill(proxy.process.pid, signal.SIGHUP)
            until(lambda: "the models are loaded again" in proxy.log() or None, "reload")
        finally:
            proxy.stop()
        assert watched.destinations() == {address(upstream), address(vendor)}

        if pytestconfig.getoption("long"):  # each imports torch anew
            for command in (["check"], ["export", "someone/absent-reranker"]):
                run = run_command(command)
                assert run.returncode == 1, run.stdout + run.stderr
                assert "engine.offline is set" in run.stdout + run.stderr
            assert watched.destinations() == {address(upstream), address(vendor)}
        assert watched.names() <= {"127.0.0.1"}
        assert not watched.trapped()


def run_command(arguments: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "rerank_proxy", *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def settled(proxy: RunningProxy) -> bool:
    models = proxy.readiness().get("models") or {"": {"state": "loading"}}
    return all(each["state"] in ("ready", "failed") for each in models.values())


def test_a_connection_elsewhere_would_be_seen(tmp_path: Path) -> None:
    with running_upstream(told) as elsewhere, watched_connections(tmp_path) as watched:
        code = f"import urllib.request; urllib.request.urlopen({elsewhere!r})"
        environment = {**os.environ, **watched.environment}
        for proxied in (True, False):
            names = ("HTTP_PROXY", "http_proxy", "ALL_PROXY") if not proxied else ()
            sent = {name: value for name, value in environment.items() if name not in names}
            process = subprocess.Popen([sys.executable, "-c", code], env=sent, stderr=subprocess.DEVNULL)
            if proxied:
                until(lambda: watched.trapped() or None, "the trap")
            process.wait(TIMEOUT_S)
        assert address(elsewhere) in watched.destinations()
