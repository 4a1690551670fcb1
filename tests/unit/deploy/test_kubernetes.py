"""The sidecar's manifest, against the schemas of Kubernetes and against the settings in it."""

import copy
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # the package carries no types
import pytest
import yaml

from rerank_proxy.settings import Address, Settings, load
from tests.support.project import ROOT

MANIFEST = ROOT / "deploy" / "kubernetes" / "sidecar.yaml"
VERSIONS = ["1.29", "1.33", kubernetes_validate.latest_version().rpartition(".")[0]]
"""From the first with native sidecars on by default to the newest that the schemas are here for."""


@pytest.fixture
def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(MANIFEST.read_text(encoding="utf-8")))


@pytest.fixture
def pod(documents: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = _one(documents, "Deployment")["spec"]["template"]["spec"]
    return found


@pytest.fixture
def sidecar(pod: dict[str, Any]) -> dict[str, Any]:
    (container,) = pod["initContainers"]
    assert isinstance(container, dict)
    return container


@pytest.fixture
def settings(documents: list[dict[str, Any]], tmp_path: Path) -> Settings:
    path = tmp_path / "rerank-proxy.yaml"
    path.write_text(_one(documents, "ConfigMap")["data"]["rerank-proxy.yaml"], encoding="utf-8")
    return load(path, environ={})


def _one(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [document for document in documents if document["kind"] == kind]
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_is_valid(documents: list[dict[str, Any]], version: str) -> None:
    for document in documents:
        assert kubernetes_validate.validate(document, version, strict=True) == version


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"readinesProbe": {}}, "readinesProbe"),
        ({"restartPolicy": 1}, "1 is not of type"),
        ({"resources": {"limits": ["2Gi"]}}, "2Gi"),
    ],
)
def test_the_check_finds_mistakes(
    documents: list[dict[str, Any]], wrong: dict[str, Any], message: str
) -> None:
    broken = copy.deepcopy(_one(documents, "Deployment"))
    broken["spec"]["template"]["spec"]["initContainers"][0].update(wrong)
    with pytest.raises(kubernetes_validate.ValidationError, match=message):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


def test_is_a_native_sidecar_with_least_rights(pod: dict[str, Any], sidecar: dict[str, Any]) -> None:
    assert sidecar["restartPolicy"] == "Always"
    assert pod["automountServiceAccountToken"] is False
    assert sidecar["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert set(sidecar["resources"]["limits"]) >= {"cpu", "memory"}


def test_volumes_exist_and_only_tmp_is_writable(pod: dict[str, Any], sidecar: dict[str, Any]) -> None:
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert {mount["name"] for mount in sidecar["volumeMounts"]} == set(volumes)
    writable = {
        mount["mountPath"]: mount["name"] for mount in sidecar["volumeMounts"] if "readOnly" not in mount
    }
    assert list(writable) == ["/tmp"]
    assert "sizeLimit" in volumes[writable["/tmp"]]["emptyDir"]


def test_paths_in_the_settings_lie_in_mounted_volumes(
    pod: dict[str, Any], sidecar: dict[str, Any], settings: Settings
) -> None:
    mounted = {Path(mount["mountPath"]): mount["name"] for mount in sidecar["volumeMounts"]}
    ca_certs = settings.upstream.ca_certs
    assert ca_certs is not None
    (secret,) = [volume["secret"] for volume in pod["volumes"] if volume["name"] == mounted[ca_certs.parent]]
    assert ca_certs.name in [item["path"] for item in secret["items"]]
    for model in settings.models.values():
        assert mounted[Path(model.source).parent] == "models"
    assert Path("/etc/rerank-proxy") in mounted


def test_clients_reach_it_from_the_pod_only_and_the_kubelet_from_outside(
    pod: dict[str, Any], sidecar: dict[str, Any], settings: Settings
) -> None:
    assert settings.listen == Address("127.0.0.1", 9201)
    assert settings.admin.listen.host == "0.0.0.0"
    assert sidecar["ports"] == [{"name": "rerank-admin", "containerPort": settings.admin.listen.port}]
    probes = {name: sidecar[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")}
    assert {probe["port"] for probe in probes.values()} == {"rerank-admin"}
    assert probes["readiness"]["path"] == "/ready"
    assert probes["liveness"]["path"] == "/live"
    (application,) = pod["containers"]
    assert {"name": "ELASTICSEARCH_URL", "value": f"http://{settings.listen}"} in application["env"]


def test_upstream_is_checked_and_models_come_from_the_volume_alone(settings: Settings) -> None:
    assert settings.upstream.node_urls[0].startswith("https://")
    assert settings.upstream.verify_certs
    assert settings.engine.offline
    assert ".rerank-v1-elasticsearch" in settings.endpoints


def test_replicas_share_their_endpoints(sidecar: dict[str, Any], settings: Settings) -> None:
    assert settings.registry.store == "index"
    variables = {each["name"]: each["valueFrom"]["secretKeyRef"]["key"] for each in sidecar["env"]}
    read = load(environ=dict.fromkeys(variables, "A" * 43)).registry
    assert read.api_key is not None
    assert read.key is not None
    comment = MANIFEST.read_text(encoding="utf-8").partition("apiVersion")[0]
    for key in variables.values():
        assert f"--from-literal={key}=" in comment


def test_stops_within_the_grace_period(pod: dict[str, Any], settings: Settings) -> None:
    lifecycle = settings.lifecycle
    needed_s = lifecycle.drain_delay_s + lifecycle.shutdown_timeout_s
    assert needed_s < pod["terminationGracePeriodSeconds"]


def test_buffers_fit_into_the_memory_limit(sidecar: dict[str, Any], settings: Settings) -> None:
    limit = sidecar["resources"]["limits"]["memory"]
    assert limit.endswith("Gi")
    assert settings.edge.max_buffered + settings.search.max_response < int(limit[:-2]) * 1024**3 / 4
