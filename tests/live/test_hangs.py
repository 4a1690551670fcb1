"""A program that never returns costs a restart of the reranking process, once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from testbed.http import Reply
from testbed.proxy import RunningProxy
from testbed.stand_in import running_upstream
from tests.support.hanging import (
    LoopsAlways,
    LoopsOverThreeApples,
    LoopsWhenRead,
    Returns,
    program,
)
from tests.support.packages import config
from tests.support.trained_models import TOKENS, part_body
from tests.support.waiting import until

MODELS = "/_ml/trained_models"
LIMIT_S = 3


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with running_upstream() as url:
        yield url


@pytest.fixture(scope="module")
def proxy(upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProxy]:
    """Run one proxy for all tests: what hangs in one costs the others a restart, and nothing else."""
    options = {
        "trained-models-upload": "true",
        "engine-device": "cpu",
        "engine-max-batch-s": str(LIMIT_S),
        "engine-max-load-s": str(LIMIT_S),
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    state = tmp_path_factory.mktemp("hangs") / "state"
    with RunningProxy(upstream, state_dir=state, options=arguments) as running:
        running.wait_ready()
        yield running
        assert running.stop() == 0


def upload(proxy: RunningProxy, name: str, module: nn.Module, directory: Path) -> None:
    content = program(module, directory / f"{name}.pt")
    calls: list[tuple[str, Any]] = [
        ("", config("bert")),
        ("/vocabulary", {"vocabulary": TOKENS}),
        ("/definition/0", part_body(content, len(content), 1)),
    ]
    calls[0][1].pop("minimum_version")
    for path, body in calls:
        reply = proxy.server.call("PUT", f"{MODELS}/{name}{path}", body)
        assert reply.status == 200, reply.body


def start(proxy: RunningProxy, name: str) -> Reply:
    return proxy.server.call("POST", f"{MODELS}/{name}/deployment/_start?timeout=60s", timeout_s=90)


def infer(proxy: RunningProxy, name: str, text: str) -> Reply:
    body = {
        "docs": [{"text_field": text}],
        "inference_config": {"text_similarity": {"text": "a query"}},
    }
    return proxy.server.call("POST", f"{MODELS}/{name}/_infer?timeout=60s", body, timeout_s=90)


def deployments(proxy: RunningProxy, name: str) -> list[Any]:
    reply = proxy.server.call("GET", f"{MODELS}/{name}/_stats").json()
    return [each["deployment_stats"] for each in reply["trained_model_stats"] if "deployment_stats" in each]


def restarts(proxy: RunningProxy) -> int:
    return int(proxy.metric("rerank_proxy_app_restarts_total"))


def wait_for_restart(proxy: RunningProxy, before: int) -> None:
    until(lambda: restarts(proxy) > before or None, "the application's end")
    proxy.wait_ready()


def reason(reply: Reply) -> str:
    error = reply.json()["error"]
    assert set(error) >= {"root_cause", "type", "reason"}
    return str(error["reason"])


def test_a_batch(proxy: RunningProxy, tmp_path: Path) -> None:
    before = restarts(proxy)
    upload(proxy, "hostile", LoopsOverThreeApples(), tmp_path)
    upload(proxy, "good", Returns(), tmp_path)
    for name in ("hostile", "good"):
        assert start(proxy, name).status == 200
    assert infer(proxy, "hostile", "apple").status == 200
    failed = infer(proxy, "hostile", "apple apple apple")
    assert failed.status == 500
    assert f"it was scoring one batch for more than {LIMIT_S} s" in reason(failed)
    wait_for_restart(proxy, before)
    assert infer(proxy, "good", "apple").status == 200, "the others are there again"
    (stats,) = deployments(proxy, "hostile")
    assert stats["state"] == "failed"
    assert "it was scoring one batch for more than" in stats["reason"]
    assert "it is not loaded again before a client starts it" in stats["reason"]
    assert infer(proxy, "hostile", "apple").status == 409
    assert proxy.server.call("POST", f"{MODELS}/hostile/deployment/_stop").status == 200
    assert start(proxy, "hostile").status == 200
    assert infer(proxy, "hostile", "apple").status == 200
    assert proxy.server.call("DELETE", f"{MODELS}/hostile?force").status == 200
    assert proxy.server.call("DELETE", f"{MODELS}/good?force").status == 200
    assert restarts(proxy) == before + 1


@pytest.mark.parametrize("module", [LoopsAlways, LoopsWhenRead])
def test_a_load(proxy: RunningProxy, tmp_path: Path, module: type[nn.Module]) -> None:
    before = restarts(proxy)
    upload(proxy, "hostile", module(), tmp_path)
    assert start(proxy, "hostile").status in (500, 503)
    wait_for_restart(proxy, before)
    assert deployments(proxy, "hostile") == [], "it never was one"
    models = proxy.readiness()["models"]
    assert "it is not loaded again before a client starts it" in models["hostile"]["detail"]
    assert proxy.server.call("DELETE", f"{MODELS}/hostile").status == 200
    assert restarts(proxy) == before + 1
