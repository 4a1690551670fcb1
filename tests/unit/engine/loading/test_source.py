"""Where a model's files are found, and when two sets of files are the same."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.sources.source import fingerprint, resolve
from tests.support import model_hub
from tests.support.model_hub import COMMIT
from tests.support.raw_http import TIMEOUT_S


def test_a_directory_is_taken_as_it_is(tmp_path: Path) -> None:
    assert resolve(str(tmp_path), None, offline=False) == tmp_path


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    assert resolve("~/model", None, offline=True) == tmp_path / "model"


@pytest.mark.parametrize("source", ["/no/such/directory", "./nothing", "~/nothing", "a/b/c"])
def test_a_path_that_is_not_there_never_reaches_the_hub(source: str) -> None:
    with pytest.raises(ModelLoadError, match=r"there is no directory \["):
        resolve(source, None, offline=False)


def test_a_file_is_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelLoadError, match="is a file"):
        resolve(str(tmp_path / "model.safetensors"), None, offline=True)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache as the hub's client leaves it after a download."""
    repository = tmp_path / "models--someone--reranker"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    (snapshot / "config.json").write_text("{}")
    (snapshot / "model.safetensors").touch()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return snapshot


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_offline_a_hub_id_is_found_in_the_cache(hub_cache: Path, revision: str | None) -> None:
    assert resolve("someone/reranker", revision, offline=True) == hub_cache


@pytest.mark.usefixtures("hub_cache")
@pytest.mark.parametrize(
    ("source", "revision"), [("someone/else", None), ("someone/reranker", "v2"), ("reranker", None)]
)
def test_offline_what_is_not_in_the_cache_is_refused(source: str, revision: str | None) -> None:
    with pytest.raises(ModelLoadError, match=r"engine\.offline is set; download it once") as refused:
        resolve(source, revision, offline=True)
    assert f"[{source}]" in str(refused.value)


def resolve_elsewhere(
    source: str, hub: str, cache: Path, before: str = ""
) -> "subprocess.CompletedProcess[str]":
    """`resolve` in a process of its own: the hub's client reads its settings once."""
    imports = "from rerank_proxy.engine.loading.sources.source import resolve; "
    imports += "from rerank_proxy.observe.log import configure; "
    code = f"{imports}{before}print(resolve({source!r}, None, offline=False))"
    environment = {**os.environ, "HF_ENDPOINT": hub, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def refusal(done: "subprocess.CompletedProcess[str]") -> str:
    (line,) = [line for line in done.stderr.splitlines() if "ModelLoadError:" in line]
    return line


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_a_hub_id_is_downloaded_without_what_is_not_needed(tmp_path: Path, weights: str) -> None:
    files = {"config.json": b"{}", "1_Pooling/config.json": b"{}", weights: b"weights"}
    others = {"README.md": b"about", "onnx/model.onnx": b"other weights", "onnx/config.json": b"{}"}
    with model_hub.serving("someone/reranker", {**files, **others}) as hub:
        done = resolve_elsewhere("someone/reranker", hub, tmp_path)
    assert done.returncode == 0, done.stderr
    directory = Path(done.stdout.strip())
    found = {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*.*")
        if path.is_file()
    }
    assert found == files


def test_a_download_is_followed_in_the_log_and_does_not_flood_it(tmp_path: Path) -> None:
    files = {"config.json": b"{}", "model.safetensors": bytes(3_000_000)}
    with model_hub.serving("someone/reranker", files) as hub:
        done = resolve_elsewhere("someone/reranker", hub, tmp_path, before="configure('info'); ")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "fetching [someone/reranker]" in line]
    assert "100 %" in lines[-1]
    assert 2 <= len(lines) <= 30
    assert "Downloading" not in done.stderr


def test_an_id_that_the_hub_does_not_know_is_told_in_a_line(tmp_path: Path) -> None:
    with model_hub.serving("someone/reranker", {}) as hub:
        line = refusal(resolve_elsewhere("someone/else", hub, tmp_path))
    assert "the hub has no [someone/else]; check the spelling" in line


def test_a_hub_that_cannot_be_reached_is_told_in_a_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # but not listened on
        line = refusal(
            resolve_elsewhere("someone/reranker", f"http://127.0.0.1:{taken.getsockname()[1]}", tmp_path)
        )
    assert "[someone/reranker] could not be fetched from the hub" in line
    assert "check the network, or give a directory" in line


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    (directory / "1_Pooling").mkdir(parents=True)
    (directory / "config.json").write_text("{}")
    (directory / "model.safetensors").write_bytes(b"weights")
    (directory / "1_Pooling" / "config.json").write_text("{}")
    return directory


def test_a_copy_has_the_same_fingerprint(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    assert fingerprint(copy, {"dtype": "float32"}) == fingerprint(model, {"dtype": "float32"})


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "1_Pooling/config.json", "new.json"])
def test_every_file_counts(model: Path, name: str) -> None:
    before = fingerprint(model, {})
    (model / name).write_bytes(b"changed")
    assert fingerprint(model, {}) != before


def test_how_the_model_is_run_counts(model: Path) -> None:
    runs: list[dict[str, object]] = [
        {},
        {"dtype": "float32"},
        {"dtype": "float16"},
        {"max_length": 32},
        {"max_length": 64},
    ]
    assert len({fingerprint(model, run) for run in runs}) == len(runs)


def test_what_does_not_decide_a_score_does_not_count(model: Path) -> None:
    before = fingerprint(model, {})
    (model / "README.md").write_text("about")
    assert fingerprint(model, {}) == before
