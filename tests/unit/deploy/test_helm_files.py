"""The files of the chart: what is made of its values, what is packaged, and what its pods run."""

import json
import re
import subprocess
import sys
import tarfile
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from deploy.made_files import CHART, made, values
from tests.support.chart import SHA256, URL, manifest_of, rendered_with
from tests.support.kubernetes_tools import helm, run
from tests.support.manifests import pods
from tests.support.pages import read
from tests.support.project import ROOT
from tests.support.raw_http import TIMEOUT_S


def test_lint_finds_nothing() -> None:
    printed = run(helm(), "lint", "--strict", CHART, "--values", "-", stdin=json.dumps(URL))
    assert "[WARNING]" not in printed


def test_is_packaged_whole(tmp_path: Path) -> None:
    run(helm(), "package", CHART, "--destination", tmp_path)
    (package,) = tmp_path.iterdir()
    with tarfile.open(package) as archive:
        packed = {Path(name).relative_to(CHART.name).as_posix() for name in archive.getnames()}
    assert packed == {file.relative_to(CHART).as_posix() for file in CHART.rglob("*") if file.is_file()}


def test_another_chart_may_contain_it(tmp_path: Path) -> None:
    """By a condition, which is a value below this chart's name."""
    dependency = {"name": CHART.name, "version": "*", "repository": "", "condition": "rerank-proxy.enabled"}
    chart = {"apiVersion": "v2", "name": "search", "version": "1.0.0", "dependencies": [dependency]}
    (tmp_path / "Chart.yaml").write_text(json.dumps(chart))
    (tmp_path / "charts").mkdir()
    run(helm(), "package", CHART, "--destination", tmp_path / "charts")
    for enabled in (True, False):
        values = {"global": {"a": 1}, "rerank-proxy": {**URL, "enabled": enabled}}
        options = ("template", "search", tmp_path, "--values", "-")
        assert ("kind: Deployment" in run(helm(), *options, stdin=json.dumps(values))) is enabled


def test_values_that_are_shown_render() -> None:
    """Those of the page and of the README; JSON is YAML too."""
    shown = re.findall(r"```yml\n(.*?)```", read(ROOT / "docs" / "kubernetes.md"), re.DOTALL)
    shown += re.findall(r"```json\n(.*?)```", read(CHART / "README.md"), re.DOTALL)
    values = [each for each in map(yaml.safe_load, shown) if "upstream" in each]
    assert len(values) == 2
    for each in values:
        assert "kind: Deployment" in rendered_with(each)


def test_its_version_is_the_projects() -> None:
    project = (CHART / "../../../pyproject.toml").read_text(encoding="utf-8")
    chart = yaml.safe_load(read(CHART / "Chart.yaml"))
    assert f'version = "{chart["appVersion"]}"' in project


def test_made_files_are_up_to_date() -> None:
    for file, text in made().items():
        assert read(file) == text, "run `make docs`"


def test_every_value_says_what_it_means() -> None:
    listed = list(values())
    assert len(listed) > 100
    assert [each.path for each in listed if not each.meaning] == []
    defaults = yaml.safe_load(read(CHART / "values.yaml"))
    for each in listed:
        below = defaults
        for key in each.path[:-1]:
            below = below[key]
        del below[each.path[-1]]
    assert not _leaves(defaults), "these are in no table"


def _leaves(values: Any) -> list[Any]:
    return (
        [leaf for each in values.values() for leaf in _leaves(each)] if isinstance(values, dict) else [values]
    )


def test_every_value_is_used() -> None:
    templates = "".join(read(file) for file in (CHART / "templates").rglob("*.*"))
    for *section, name in (each.path for each in values()):
        assert f".{name}" in templates or f"toYaml .Values.{'.'.join(section)} " in templates, (section, name)


def scripts_of(name: str) -> dict[str, list[str]]:
    """Return the arguments of the containers that run Python."""
    found = {}
    for pod in pods(manifest_of(name)):
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            if container.get("command") == ["python", "-c"]:
                found[container["name"]] = container["args"]
    return found


@pytest.mark.parametrize("right", [True, False])
def test_the_init_container_unpacks_only_what_has_its_checksum(tmp_path: Path, right: bool) -> None:
    served, target = tmp_path / "served", tmp_path / "models"
    served.mkdir()
    target.mkdir()
    (tmp_path / "config.json").write_text("{}")
    with tarfile.open(served / "model.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "config.json", "my-model/config.json")
    checksum = sha256((served / "model.tar.gz").read_bytes()).hexdigest() if right else SHA256

    scripts = scripts_of("download")

    class Files(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(served))

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/model.tar.gz"
        done = _python(scripts["model"][0], url, checksum, str(target))
        answered = _python(scripts["test"][0], url)
        server.shutdown()
        thread.join()
    assert (done.returncode == 0) is right, done.stderr
    assert (target / "my-model" / "config.json").exists() is right
    assert right or "nothing is unpacked" in done.stderr
    assert answered.returncode == 0


def _python(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
