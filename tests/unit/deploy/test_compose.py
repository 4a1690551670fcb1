"""The compose file, against the Compose specification and against the command line."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from rerank_proxy.settings import Address
from testbed.releases import RELEASES
from tests.support.project import ROOT, settings_of
from tests.support.raw_http import TIMEOUT_S

FILE = ROOT / "compose.yaml"
_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


@pytest.fixture
def compose() -> dict[str, Any]:
    """The file as it stands."""
    loaded = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


@pytest.fixture
def defaults(compose: dict[str, Any]) -> dict[str, Any]:
    """The file with the default of every variable."""
    filled = json.loads(_VARIABLE.sub(lambda match: match[2], json.dumps(compose)))
    assert "$" not in json.dumps(filled), "a variable without a default: the file must work as it is"
    assert isinstance(filled, dict)
    return filled


@pytest.fixture
def service(defaults: dict[str, Any]) -> dict[str, Any]:
    found = defaults["services"]["proxy"]
    assert isinstance(found, dict)
    return found


def _check(compose: dict[str, Any], directory: Path) -> str:
    """What the Compose specification's JSON schema, which check-jsonschema brings along, has against it."""
    file = directory / "compose.yaml"
    file.write_text(yaml.safe_dump(compose), encoding="utf-8")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    return "" if checked.returncode == 0 else checked.stdout + checked.stderr


def test_follows_the_specification(defaults: dict[str, Any], tmp_path: Path) -> None:
    assert not _check(defaults, tmp_path)


def test_the_check_finds_a_misspelt_key(defaults: dict[str, Any], tmp_path: Path) -> None:
    service = defaults["services"]["proxy"]
    service["readonly"] = service.pop("read_only")
    assert "'readonly' was unexpected" in _check(defaults, tmp_path)


def _compose_plugin() -> str | None:
    """The `docker` program with the compose plugin; no engine is needed to read a file."""
    docker = shutil.which("docker")
    if docker is None:
        return None
    asked = subprocess.run(
        [docker, "compose", "version"], capture_output=True, timeout=TIMEOUT_S, check=False
    )
    return docker if asked.returncode == 0 else None


def test_docker_compose_reads_it() -> None:
    docker = _compose_plugin()
    if docker is None:
        pytest.skip("docker compose is not installed; the schema of the Compose specification is checked")
    command = [docker, "compose", "--file", str(FILE), "config", "--format", "json"]
    read = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert read.returncode == 0, read.stderr
    services = json.loads(read.stdout)["services"]
    assert services["proxy"]["depends_on"]["elasticsearch"]["condition"] == "service_healthy"


def test_elasticsearch_is_the_release_that_the_tests_run(defaults: dict[str, Any]) -> None:
    image = defaults["services"]["elasticsearch"]["image"]
    assert image.rpartition(":")[2] == RELEASES[0].version


def test_elasticsearch_can_be_started_on_any_port(compose: dict[str, Any]) -> None:
    elasticsearch = compose["services"]["elasticsearch"]
    assert elasticsearch["ports"] == ["127.0.0.1:${ELASTICSEARCH_PORT:-9200}:9200"]
    assert "${ELASTICSEARCH_VERSION:-" in elasticsearch["image"]
    assert elasticsearch["environment"]["discovery.type"] == "single-node"
    assert elasticsearch["healthcheck"]["test"][0] == "CMD"


def test_the_proxy_serves_what_is_published(service: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"RERANK_PROXY_CONFIG": str(ROOT / "config" / "container.yaml"), **service["environment"]}
    settings = settings_of(service["command"], environ, monkeypatch)
    assert settings.upstream.url == "http://elasticsearch:9200"
    assert settings.listen == Address("0.0.0.0", 9201)
    assert settings.admin.listen == Address("0.0.0.0", 9202)
    assert settings.admin.open  # as the port is published to this machine alone
    assert settings.admin.hosts == ("proxy",)
    assert service["ports"] == ["127.0.0.1:9201:9201", "127.0.0.1:9202:9202"]
    assert set(settings.endpoints) == {".rerank-v1-elasticsearch"}


def test_the_proxy_runs_with_least_rights(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["user"] == "10001:10001"
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert [mount.partition(":")[0] for mount in service["tmpfs"]] == ["/tmp"]
    assert "./models:/models:ro" in service["volumes"]


def test_endpoints_that_clients_create_are_kept(compose: dict[str, Any], service: dict[str, Any]) -> None:
    """In the state directory of the image, which is made inside the volume."""
    (volume,) = [mount.partition(":") for mount in service["volumes"] if mount.startswith("state:")]
    assert volume[0] in compose["volumes"]
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    assert f"RERANK_PROXY_STATE_DIR={volume[2]}/state " in dockerfile


def test_the_proxy_is_healthy_when_it_is_ready(service: dict[str, Any]) -> None:
    kind, python, option, script = service["healthcheck"]["test"]
    assert (kind, python, option) == ("CMD", "python", "-c")
    compile(script, "healthcheck", "exec")
    assert "http://127.0.0.1:9202/ready" in script


def test_the_documented_variables_are_those_of_the_file() -> None:
    text = FILE.read_text(encoding="utf-8")
    comment = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    for name in {match[1] for match in _VARIABLE.finditer(text)}:
        assert re.search(rf"\b{name}\b", comment), name
