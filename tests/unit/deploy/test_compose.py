"""The compose file, against the Compose specification and against the command line."""

import json
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from rerank_proxy.settings import Address
from testbed.releases import RELEASES
from tests.support.project import ROOT, settings_of
from tests.support.raw_http import TIMEOUT_S
from tests.support.schemas import faults

FILE = ROOT / "compose.yaml"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
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


def test_follows_the_specification(defaults: dict[str, Any]) -> None:
    assert not faults(defaults, "compose-spec")


def test_the_check_finds_a_misspelt_key(defaults: dict[str, Any]) -> None:
    service = defaults["services"]["proxy"]
    service["readonly"] = service.pop("read_only")
    (fault,) = faults(defaults, "compose-spec")
    assert "'readonly' was unexpected" in fault


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


def test_profiles_are_what_the_file_says(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert {name: each.get("profiles", []) for name, each in services.items()} == {
        "elasticsearch": [],
        "proxy": [],
        "proxy-gpu": ["gpu"],
        "demo": ["demo"],
        "prometheus": ["monitoring"],
        "grafana": ["monitoring"],
    }
    comment = FILE.read_text(encoding="utf-8").partition("\nname:")[0]
    for command in ("up --build --wait proxy-gpu", "--profile monitoring up", "run --rm demo"):
        assert f"docker compose {command}" in comment


def test_the_gpu_is_given_to_what_is_otherwise_the_same(compose: dict[str, Any]) -> None:
    proxy, gpu = compose["services"]["proxy"], compose["services"]["proxy-gpu"]
    different = {key for key in gpu if gpu[key] != proxy.get(key)}
    assert different == {"profiles", "image", "build", "networks", "deploy"}
    (backend,) = re.findall(r"TORCH_BACKEND=(cu\d+)", DOCKERFILE.read_text(encoding="utf-8"))
    assert gpu["build"]["args"]["TORCH_BACKEND"] == backend
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert gpu["networks"]["default"]["aliases"] == ["proxy"]


def test_prometheus_asks_the_proxy_and_grafana_asks_prometheus(compose: dict[str, Any]) -> None:
    """By the names and ports of the services; what is mounted is there, where its program looks for it."""
    services = compose["services"]
    monitoring = ROOT / "deploy" / "monitoring"
    scraped = yaml.safe_load((monitoring / "prometheus.yml").read_text(encoding="utf-8"))
    (job,) = scraped["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["proxy:9202"]}]
    mounted = dict(mount.split(":")[:2] for mount in services["prometheus"]["volumes"])
    assert "--config.file=/etc/prometheus/prometheus.yml" in services["prometheus"]["command"]
    assert mounted["./deploy/monitoring/prometheus.yml"] == "/etc/prometheus/prometheus.yml"
    assert scraped["rule_files"] == ["alerts.yaml"]
    assert mounted["./deploy/monitoring/alerts.yaml"] == "/etc/prometheus/alerts.yaml"

    mounted = dict(mount.split(":")[:2] for mount in services["grafana"]["volumes"])
    provisioning = monitoring / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "rerank-proxy.yaml").read_text())["providers"]
    folder = provider["options"]["path"]
    assert mounted["./deploy/monitoring/dashboard.json"] == f"{folder}/dashboard.json"
    assert mounted["./deploy/monitoring/grafana/provisioning"] == "/etc/grafana/provisioning"


def test_what_is_mounted_is_there(compose: dict[str, Any]) -> None:
    mounts = [mount for each in compose["services"].values() for mount in each.get("volumes", [])]
    own = {mount.partition(":")[0] for mount in mounts if mount.startswith("./")}
    assert len(own) == 6
    assert all((ROOT / path).exists() for path in own)


def test_only_this_machine_reaches_the_ports_and_nothing_gains_rights(compose: dict[str, Any]) -> None:
    for name, each in compose["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in each.get("ports", [])), name
        if name != "elasticsearch":
            assert each["cap_drop"] == ["ALL"], name
            assert each["security_opt"] == ["no-new-privileges:true"], name


def test_no_image_is_of_any_version(compose: dict[str, Any]) -> None:
    for name, each in compose["services"].items():
        assert "build" in each or re.search(r":(v?\d+\.\d+\.\d+|\$\{\w+:-[\d.]+\})$", each["image"]), name


def test_the_documented_variables_are_those_of_the_file() -> None:
    text = FILE.read_text(encoding="utf-8")
    comment = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    for name in {match[1] for match in _VARIABLE.finditer(text)}:
        assert re.search(rf"\b{name}\b", comment), name
