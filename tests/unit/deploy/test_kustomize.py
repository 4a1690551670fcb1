"""The kustomizations, built by kubectl, against the rules of all manifests and against what each is for."""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from rerank_proxy.settings import Address
from tests.support.kubernetes_tools import kubectl, run
from tests.support.manifests import Document, Proxy, check, documents, of_kind, only, pods, proxy_in, selects
from tests.support.pages import read
from tests.support.project import ROOT

FOLDER: Final = ROOT / "deploy" / "kustomize"
OVERLAYS: Final = sorted(path.name for path in (FOLDER / "overlays").iterdir())
COMPONENTS: Final = sorted(path.name for path in (FOLDER / "components").iterdir())
FOR_OTHERS: Final = "sidecar"
"""The component that is not for the gateway."""
ALTERNATIVES: Final = ("model-image", "model-download", "hub-cache", "hpa-queue", "keda", "openshift")
"""Components that do not go with all others."""


@cache
def built(overlay: str) -> str:
    return run(kubectl(), "kustomize", FOLDER / "overlays" / overlay)


def overlay_of(name: str) -> list[Document]:
    return documents(built(name))


def with_components(directory: Path, *components: str) -> list[Document]:
    """Build the gateway with components."""
    overlay = directory / "overlay"
    overlay.mkdir()
    up = os.path.relpath(FOLDER.resolve(), overlay.resolve())
    kustomization = {
        "resources": [f"{up}/base"],
        "components": [f"{up}/components/{component}" for component in components],
    }
    (overlay / "kustomization.yaml").write_text(json.dumps(kustomization), encoding="utf-8")
    return documents(run(kubectl(), "kustomize", overlay))


def gateway_of(manifest: list[Document], directory: Path) -> Proxy:
    (pod,) = pods(manifest)
    return Proxy.of(pod, manifest, directory)


@pytest.mark.parametrize("name", OVERLAYS)
def test_overlays_keep_to_the_rules_of_all_manifests(name: str, tmp_path: Path) -> None:
    (proxy,) = check(overlay_of(name), tmp_path)
    assert proxy.container["image"].startswith("registry.example.com/rerank-proxy:")


@pytest.mark.parametrize("component", ALTERNATIVES)
def test_alternatives_keep_to_them_one_by_one(component: str, tmp_path: Path) -> None:
    since = "1.33" if component == "model-image" else "1.29"
    assert len(check(with_components(tmp_path, component), tmp_path, since)) == 1


def test_all_others_keep_to_them_together(tmp_path: Path) -> None:
    others = [name for name in COMPONENTS if name not in {*ALTERNATIVES, FOR_OTHERS}]
    manifest = with_components(tmp_path, *others)
    assert len(check(manifest, tmp_path)) == 1


@pytest.mark.parametrize("name", [name for name in OVERLAYS if name.startswith("gateway")])
def test_the_service_and_all_that_selects_pods_find_them(name: str) -> None:
    manifest = overlay_of(name)
    labels = only(manifest, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert labels
    selectors = [only(manifest, "Service")["spec"]["selector"], *_match_labels(manifest)]
    assert len(selectors) > 3
    for selector in selectors:
        assert selector
        assert selects(selector, labels)


def _match_labels(values: Any) -> list[dict[str, str]]:
    """Return all selectors by labels, at any depth, but for those of namespaces."""
    if isinstance(values, list):
        return [found for value in values for found in _match_labels(value)]
    if not isinstance(values, dict):
        return []
    here = [values["matchLabels"]] if "matchLabels" in values else []
    return here + _match_labels([value for key, value in values.items() if key != "namespaceSelector"])


def test_new_settings_replace_the_pods() -> None:
    names = set()
    for overlay in ("gateway", "gateway-gpu"):
        (pod,) = pods(overlay_of(overlay))
        names.add(_settings_of(pod))
    assert len(names) == 2


def _settings_of(pod: Document) -> str:
    (name,) = [volume["configMap"]["name"] for volume in pod["volumes"] if volume["name"] == "settings"]
    return str(name)


def test_the_gateway_goes_to_the_cluster_of_eck(tmp_path: Path) -> None:
    manifest = overlay_of("gateway")
    settings = gateway_of(manifest, tmp_path).settings
    assert settings.upstream.url == "https://my-cluster-es-http.default.svc:9200"
    assert settings.upstream.ca_certs == Path("/run/elasticsearch/ca.crt")
    assert settings.endpoints[".rerank-v1-elasticsearch"].model == "reranker"
    assert only(manifest, "HorizontalPodAutoscaler")["spec"]["metrics"][0]["type"] == "Resource"


def test_alerts_and_dashboard_come_with_the_metrics() -> None:
    manifest = overlay_of("gateway")
    monitoring = ROOT / "deploy" / "monitoring"
    assert only(manifest, "PrometheusRule")["spec"] == yaml.safe_load(read(monitoring / "alerts.yaml"))
    (shown,) = [
        each["data"] for each in of_kind(manifest, "ConfigMap") if "rerank-proxy.json" in each["data"]
    ]
    assert json.loads(shown["rerank-proxy.json"]) == json.loads(read(monitoring / "dashboard.json"))
    (scraped,) = only(manifest, "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert scraped["authorization"]["credentials"] == {"name": "rerank-proxy", "key": "admin__token"}


def test_a_gpu_is_asked_for_and_its_taint_tolerated(tmp_path: Path) -> None:
    proxy = gateway_of(overlay_of("gateway-gpu"), tmp_path)
    assert proxy.container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert proxy.pod["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    ]
    assert proxy.settings.engine.device == "cuda"


def test_open_shift_chooses_the_user() -> None:
    (pod,) = pods(overlay_of("gateway-openshift"))
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def test_the_sidecar_leaves_the_application_as_it_is(tmp_path: Path) -> None:
    manifest = overlay_of("sidecar")
    (application,) = documents(
        (FOLDER / "overlays" / "sidecar" / "application.yaml").read_text(encoding="utf-8")
    )
    template = only(manifest, "Deployment")["spec"]["template"]
    assert template["spec"]["containers"] == application["spec"]["template"]["spec"]["containers"]
    assert template["metadata"] == application["spec"]["template"]["metadata"]
    proxy = gateway_of(manifest, tmp_path)
    assert proxy.container["restartPolicy"] == "Always"
    assert proxy.settings.listen == Address("127.0.0.1", 9201)


def test_others_stay_without_a_sidecar(tmp_path: Path) -> None:
    manifest = with_components(tmp_path, FOR_OTHERS)
    (pod,) = pods(manifest)
    assert "initContainers" not in pod
    assert proxy_in(pod) in pod["containers"]
