"""A disk that is full, and models whose files are gone: what fails says so, and all else goes on."""

import json
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from testbed.http import Reply
from testbed.proxy import RunningProxy
from testbed.stand_in import running_upstream
from tests.live.conftest import ENDPOINT
from tests.support import tiny_models
from tests.support.trained_models import CONFIG, TOKENS, part_body
from tests.support.waiting import until

MODELS = "/_ml/trained_models"
PROGRAM = b"only bytes"
MINE = {
    "service": "elasticsearch",
    "service_settings": {"model_id": "tiny", "num_allocations": 1, "num_threads": 1},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.build("bert", tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def lazy(model: Path) -> Path:
    """Return another one, which the proxy loads when it is asked for and unloads soon."""
    return shutil.copytree(model, model.with_name("lazy"))


@pytest.fixture(scope="module")
def proxy(model: Path, lazy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProxy]:
    options = {
        "trained-models-upload": "true",
        "engine-device": "cpu",
        "engine-idle-unload-s": "0.2",
        "inference-skip-validate-and-start": "true",
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    directory = tmp_path_factory.mktemp("proxy")
    models = {"tiny": {"source": str(model)}, "lazy": {"source": str(lazy), "preload": False}}
    endpoints = {ENDPOINT: {"model": "tiny"}, "lazy": {"model": "lazy"}}
    (directory / "settings.yaml").write_text(json.dumps({"models": models, "endpoints": endpoints}))
    arguments += ["--config", str(directory / "settings.yaml")]
    with (
        running_upstream() as url,
        RunningProxy(url, state_dir=directory / "state", options=arguments) as running,
    ):
        running.wait_ready()
        yield running


def family(pid: int) -> list[int]:
    """Return the process and those that it has started."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True).stdout
    rows = [tuple(map(int, row.split())) for row in listed.splitlines()[1:]]
    return [pid, *(child for child, parent in rows if parent == pid)]


@contextmanager
def nothing_can_be_written(proxy: RunningProxy) -> Iterator[None]:
    """Let the system refuse each byte that the proxy's processes write to a file, their log included."""
    assert proxy.process is not None
    before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in family(proxy.process.pid)}
    for pid, (_, hard) in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        for pid, limits in before.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


@contextmanager
def gone(directory: Path) -> Iterator[None]:
    elsewhere = directory.with_name("elsewhere")
    directory.rename(elsewhere)
    try:
        yield
    finally:
        elsewhere.rename(directory)


def state_of(proxy: RunningProxy, model: str) -> str:
    return str(proxy.readiness()["models"][model]["state"])


def rerank(proxy: RunningProxy, text: str, endpoint: str = ENDPOINT) -> Reply:
    body = {"query": "a question", "input": [text, "b"]}
    return proxy.server.call("POST", f"/_inference/rerank/{endpoint}", body)


def put(proxy: RunningProxy, path: str, body: Any) -> tuple[int, str]:
    reply = proxy.server.call("PUT", path, body)
    told = reply.json()
    return reply.status, told["error"]["reason"] if reply.status != 200 else ""


def test_a_full_disk(proxy: RunningProxy) -> None:
    part = part_body(PROGRAM, len(PROGRAM), 1)
    assert put(proxy, f"{MODELS}/mine", CONFIG)[0] == 200
    with nothing_can_be_written(proxy):
        assert proxy.server.call("GET", "/").status == 200
        assert rerank(proxy, "what no cache has").status == 200
        failure = "Failed to store inference endpoint [mine]: the registry cannot be written: File too large"
        assert put(proxy, "/_inference/rerank/mine", MINE) == (500, failure)
        assert rerank(proxy, "a", "mine").status == 404
        for path, body in (("definition/0", part), ("vocabulary", {"vocabulary": TOKENS})):
            failure = "the model could not be saved: File too large"
            assert put(proxy, f"{MODELS}/mine/{path}", body) == (500, failure)
    assert put(proxy, f"{MODELS}/mine/definition/0", part)[0] == 200
    assert put(proxy, f"{MODELS}/mine/vocabulary", {"vocabulary": TOKENS})[0] == 200
    assert put(proxy, "/_inference/rerank/mine", MINE)[0] == 200
    assert rerank(proxy, "a", "mine").status == 200


def test_the_files_of_a_model_that_is_loaded_are_gone(proxy: RunningProxy, model: Path) -> None:
    with gone(model):
        assert rerank(proxy, "read by none before").status == 200


def test_the_files_of_a_model_that_was_unloaded_are_gone(proxy: RunningProxy, lazy: Path) -> None:
    assert rerank(proxy, "a", "lazy").status == 200
    until(lambda: state_of(proxy, "lazy") == "unloaded" or None, "it is unloaded")
    with gone(lazy):
        reply = rerank(proxy, "a", "lazy")
        assert reply.status == 500
        failure = (
            "Model [lazy] of inference endpoint [lazy] could not be loaded: there is no directory [lazy]"
        )
        assert reply.json()["error"]["reason"].startswith(failure)
        assert state_of(proxy, "lazy") == "failed"
        assert rerank(proxy, "another that none has read").status == 200
