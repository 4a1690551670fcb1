"""The chart, rendered by Helm with many values, against the rules of all manifests and what was asked."""

import json
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final

import pytest
import yaml

from tests.support.deploy_files import CHART, made, values
from tests.support.kubernetes_tools import helm, run
from tests.support.manifests import Document, check, documents, of_kind, only, pods, proxy_in, selects
from tests.support.pages import read
from tests.support.raw_http import TIMEOUT_S

URL: Final = {"upstream": {"url": "https://es.example.com:9200"}}
ECK: Final = {"upstream": {"eck": {"name": "my-cluster"}}}
MODEL: Final = {
    "models": {"reranker": {"source": "/models/my-model"}},
    "endpoints": {".rerank-v1-elasticsearch": {"model": "reranker"}},
}
SECRET: Final = {"secrets": {"existingSecret": "rerank-proxy"}}
SHA256: Final = "0" * 64
CLAIM: Final = {"modelVolume": {"type": "claim", "claim": {"name": "reranker-models"}}}
ARCHIVE: Final = {"url": "https://files.example.com/model.tar.gz", "sha256": SHA256}
DOWNLOAD: Final = {"modelVolume": {"type": "download", "download": ARCHIVE}}

SETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "least": URL,
    "eck": {
        **ECK,
        **MODEL,
        **CLAIM,
        "registry": {
            "store": "index",
            "username": "elastic",
            "passwordSecret": {"name": "my-cluster-es-elastic-user"},
        },
    },
    "another-namespace": {
        "upstream": {
            "eck": {"name": "logs", "namespace": "elastic"},
            "caSecret": {"name": "logs-ca", "key": "tls.crt"},
        }
    },
    "download": {**URL, **MODEL, **DOWNLOAD},
    "made-claim": {
        **URL,
        **MODEL,
        "modelVolume": {
            "type": "claim",
            "claim": {"create": "5Gi", "subPath": "rerankers", "storageClassName": "shared"},
        },
    },
    "hub": {
        **URL,
        "models": {"reranker": "cross-encoder/ms-marco-MiniLM-L6-v2"},
        "modelVolume": {"type": "hub"},
    },
    "hub-claim": {**URL, "modelVolume": {"type": "hub", "hub": {"claimName": "hub"}}},
    "index": {**ECK, **SECRET, "registry": {"store": "index"}},
    "tls": {
        **ECK,
        **SECRET,
        "tls": {"secretName": "rerank-tls", "admin": True},
        "podMonitor": {"enabled": True},
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "caConfigMap": "rerank-ca"},
    },
    "routes": {
        **URL,
        "ingress": {
            "enabled": True,
            "host": "search.example.com",
            "className": "nginx",
            "tlsSecretName": "search-tls",
            "annotations": {"a": "b"},
        },
        "httpRoute": {
            "enabled": True,
            "parentRefs": [{"name": "public", "namespace": "gateways"}],
            "hostnames": ["search.example.com"],
        },
    },
    "autoscaling": {**URL, "autoscaling": {"enabled": True, "queue": {"enabled": True}}},
    "gpu": {
        **URL,
        "gpu": {"enabled": True, "runtimeClassName": "nvidia"},
        "autoscaling": {
            "enabled": True,
            "minReplicas": 1,
            "cpuUtilization": None,
            "queue": {"enabled": True},
        },
    },
    "keda": {**URL, "keda": {"enabled": True}},
    "network-policy": {
        **URL,
        "networkPolicy": {
            "enabled": True,
            "vendors": True,
            "upstream": [{"podSelector": {"matchLabels": {"a": "b"}}}],
            "scrapers": [
                {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
            ],
            "extraEgress": [{"ports": [{"port": 4318}]}],
        },
    },
    "closed": {**URL, "networkPolicy": {"enabled": True, "clients": []}},
    "service-monitor": {
        **URL,
        **SECRET,
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    },
    "open-shift": {**URL, **MODEL, **DOWNLOAD, "openShift": "on"},
    "service": {
        **URL,
        "service": {
            "type": "LoadBalancer",
            "nodePort": 30920,
            "sessionAffinity": "ClientIP",
            "loadBalancerSourceRanges": ["192.0.2.0/24"],
            "annotations": {"a": "b"},
        },
    },
    "more": {
        **URL,
        "nameOverride": "rerank",
        "commonLabels": {"team": "search"},
        "image": {"digest": f"sha256:{SHA256}"},
        "extraArgs": ["--edge-processes=2"],
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
        "extraEnvFrom": [{"configMapRef": {"name": "more"}}],
        "podLabels": {"a": "b"},
        "podAnnotations": {"c": "d"},
        "extraVolumes": [{"name": "more", "emptyDir": {}}],
        "priorityClassName": "high",
        "extraVolumeMounts": [{"name": "more", "mountPath": "/more", "readOnly": True}],
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "serviceAccount": {"name": "reranker", "annotations": {"e": "f"}},
        "replicaCount": 1,
        "config": {"search": {"timeout_s": 5}, "upstream": {"connect_timeout_s": 3}},
        "extraObjects": [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "{{ .Release.Name }}-more"},
                "data": {"a": "b"},
            }
        ],
    },
    "recreate": {**URL, "strategy": {"type": "Recreate"}, "serviceAccount": {"create": False}},
}
"""By a name, values that are given."""


@cache
def rendered(name: str, version: int = 4, kubernetes: str = "1.37") -> str:
    return rendered_with(SETS[name], version, kubernetes)


def rendered_with(
    given: Mapping[str, Any], version: int = 4, kubernetes: str = "1.37", succeeds: bool = True
) -> str:
    """Render the chart as the release `search` of the namespace `apps`; or return why it cannot be."""
    command: list[str | Path] = [
        helm(version),
        "template",
        "search",
        CHART,
        "--namespace",
        "apps",
        "--kube-version",
        kubernetes,
    ]
    return run(*command, "--values", "-", stdin=json.dumps(given), succeeds=succeeds)


def manifest_of(name: str) -> list[Document]:
    return documents(rendered(name))


def deployment_of(name: str) -> Document:
    return only(manifest_of(name), "Deployment")


def pod_of(name: str) -> Document:
    pod: Document = deployment_of(name)["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize("name", SETS)
def test_keeps_to_the_rules_of_all_manifests(name: str, tmp_path: Path) -> None:
    assert len(check(manifest_of(name), tmp_path)) == 1


def test_an_image_volume_is_for_kubernetes_from_1_33(tmp_path: Path) -> None:
    volume = {"modelVolume": {"type": "image", "image": {"reference": "registry.example.com/model:1"}}}
    (proxy,) = check(documents(rendered_with({**URL, **MODEL, **volume})), tmp_path, since="1.33")
    assert {"reference": "registry.example.com/model:1", "pullPolicy": "IfNotPresent"} in [
        volume.get("image") for volume in proxy.pod["volumes"]
    ]


@pytest.mark.parametrize("name", ["least", "eck", "more", "tls"])
def test_helm_3_renders_the_same(name: str) -> None:
    theirs = documents(rendered(name, 3))
    assert sorted(map(repr, theirs)) == sorted(map(repr, manifest_of(name)))


def test_lint_finds_nothing() -> None:
    printed = run(helm(), "lint", "--strict", CHART, "--values", "-", stdin=json.dumps(URL))
    assert "[WARNING]" not in printed


def test_is_packaged_whole(tmp_path: Path) -> None:
    run(helm(), "package", CHART, "--destination", tmp_path)
    (package,) = tmp_path.iterdir()
    with tarfile.open(package) as archive:
        packed = {Path(name).relative_to(CHART.name).as_posix() for name in archive.getnames()}
    assert packed == {file.relative_to(CHART).as_posix() for file in CHART.rglob("*") if file.is_file()}


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


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give upstream.url"),
        ({"upstream": {**URL["upstream"], **ECK["upstream"]}}, "either upstream.url or upstream.eck.name"),
        ({"upstream": {"eck": {"name": "a", "namespace": "b"}}}, "copy its Secret"),
        ({**URL, "replicas": 2}, "replicas"),
        ({**URL, "image": {"tags": "1"}}, "tags"),
        ({**URL, "replicaCount": "two"}, "replicaCount"),
        ({**URL, "registry": {"store": "file"}}, "store"),
        ({**URL, "modelVolume": {"type": "claim"}}, "modelVolume.claim"),
        ({**URL, "modelVolume": {"type": "image"}}, "modelVolume.image.reference"),
        ({**URL, "modelVolume": {"type": "download", "download": {"url": ARCHIVE["url"]}}}, "sha256"),
        ({**URL, "autoscaling": {"enabled": True, "cpuUtilization": None}}, "needs a signal"),
        ({**URL, "autoscaling": {"enabled": True}, "keda": {"enabled": True}}, "either autoscaling or keda"),
        ({**URL, "podMonitor": {"enabled": True}}, "needs a token"),
        (
            {**URL, **SECRET, "podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}},
            "either serviceMonitor",
        ),
        ({**URL, "terminationGracePeriodSeconds": 30}, "terminationGracePeriodSeconds"),
        ({**URL, "ingress": {"enabled": True}}, "ingress.host"),
        ({**URL, "httpRoute": {"enabled": True}}, "httpRoute.parentRefs"),
    ],
)
def test_values_that_cannot_work_are_refused(given: Mapping[str, Any], message: str) -> None:
    assert message in rendered_with(given, succeeds=False)


def test_refuses_a_kubernetes_without_native_sidecars() -> None:
    assert "kubeVersion" in rendered_with(URL, kubernetes="1.28", succeeds=False)


def test_eck_needs_a_name_alone(tmp_path: Path) -> None:
    (proxy,) = check(manifest_of("eck"), tmp_path)
    assert proxy.settings.upstream.url == "https://my-cluster-es-http.apps.svc:9200"
    assert proxy.settings.upstream.ca_certs == Path("/run/elasticsearch/ca.crt")
    (authority,) = [each["secret"] for each in proxy.pod["volumes"] if each["name"] == "elasticsearch-ca"]
    assert authority["secretName"] == "my-cluster-es-http-certs-public"
    assert proxy.settings.registry.password is not None
    assert proxy.settings.engine.offline


def test_services_and_policies_select_the_pods() -> None:
    for name in ("network-policy", "service-monitor", "more"):
        manifest = manifest_of(name)
        labels = only(manifest, "Deployment")["spec"]["template"]["metadata"]["labels"]
        assert selects(only(manifest, "Service")["spec"]["selector"], labels)
        for kind in ("NetworkPolicy", "PodDisruptionBudget"):
            for document in of_kind(manifest, kind):
                chosen = document["spec"].get("podSelector") or document["spec"]["selector"]
                assert selects(chosen["matchLabels"], labels)
        for test in of_kind(manifest, "Pod"):
            assert not selects(only(manifest, "Service")["spec"]["selector"], test["metadata"]["labels"])


def test_the_admin_port_is_open_only_where_it_is_asked_for() -> None:
    for name, ports in (("eck", ["http"]), ("tls", ["https"]), ("service-monitor", ["http", "admin"])):
        assert [port["name"] for port in only(manifest_of(name), "Service")["spec"]["ports"]] == ports
    closed = only(manifest_of("closed"), "NetworkPolicy")["spec"]
    assert closed["ingress"] == []
    clients, scrapers = only(manifest_of("network-policy"), "NetworkPolicy")["spec"]["ingress"]
    assert (clients["ports"], scrapers["ports"]) == ([{"port": "http"}], [{"port": "admin"}])
    assert "namespaceSelector" in scrapers["from"][0]


@pytest.mark.parametrize(
    ("name", "kind", "field"),
    [
        ("service-monitor", "ServiceMonitor", "endpoints"),
        ("tls", "PodMonitor", "podMetricsEndpoints"),
    ],
)
def test_prometheus_shows_the_token_of_the_secret(name: str, kind: str, field: str) -> None:
    (scraped,) = only(manifest_of(name), kind)["spec"][field]
    assert scraped["authorization"] == {"credentials": {"name": "rerank-proxy", "key": "admin__token"}}
    assert scraped["scheme"] == ("https" if name == "tls" else "http")
    (secret,) = [each["secret"] for each in pod_of(name)["volumes"] if each["name"] == "secrets"]
    assert secret["secretName"] == "rerank-proxy"


def test_new_settings_replace_the_pods() -> None:
    checksums = {
        deployment_of(name)["spec"]["template"]["metadata"]["annotations"]["checksum/settings"]
        for name in ("least", "eck", "more")
    }
    assert len(checksums) == 3
    given = documents(rendered_with({**URL, "existingConfig": "mine"}))
    assert of_kind(given, "ConfigMap") == []
    assert {"name": "settings", "configMap": {"name": "mine"}} in pods(given)[0]["volumes"]


def test_scales_by_processor_and_queue() -> None:
    spec = only(manifest_of("autoscaling"), "HorizontalPodAutoscaler")["spec"]
    assert [metric["type"] for metric in spec["metrics"]] == ["Resource", "Pods"]
    assert "replicas" not in deployment_of("autoscaling")["spec"]
    (queue,) = only(manifest_of("gpu"), "HorizontalPodAutoscaler")["spec"]["metrics"]
    assert queue["pods"]["metric"]["name"] == "rerank_proxy_engine_queued_tokens"
    assert (
        only(manifest_of("keda"), "ScaledObject")["spec"]["scaleTargetRef"]["name"] == "search-rerank-proxy"
    )


def test_a_single_pod_may_be_evicted() -> None:
    assert of_kind(manifest_of("gpu"), "PodDisruptionBudget") == []
    assert of_kind(manifest_of("more"), "PodDisruptionBudget") == []
    assert of_kind(manifest_of("keda"), "PodDisruptionBudget") != []


def test_a_gpu_is_asked_for_and_its_taint_tolerated() -> None:
    pod = pod_of("gpu")
    assert proxy_in(pod)["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert pod["runtimeClassName"] == "nvidia"


def test_open_shift_chooses_the_user() -> None:
    context = pod_of("open-shift")["securityContext"]
    assert context["runAsNonRoot"] is True
    assert not {"runAsUser", "runAsGroup", "fsGroup"} & set(context)
    command: list[str | Path] = [
        helm(),
        "template",
        "search",
        CHART,
        "--api-versions",
        "security.openshift.io/v1",
        "--values",
        "-",
    ]
    found = documents(run(*command, stdin=json.dumps(URL)))
    assert "runAsUser" not in only(found, "Deployment")["spec"]["template"]["spec"]["securityContext"]


def test_given_settings_replace_those_of_the_chart(tmp_path: Path) -> None:
    (proxy,) = check(manifest_of("more"), tmp_path)
    assert proxy.settings.search.timeout_s == 5
    assert proxy.settings.upstream.connect_timeout_s == 3
    assert proxy.settings.upstream.url == URL["upstream"]["url"]
    assert proxy.container["image"] == f"rerank-proxy@sha256:{SHA256}"


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

    class Files(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(served))

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/model.tar.gz"
        script = scripts_of("download")["model"][0]
        done = subprocess.run(
            [sys.executable, "-c", script, url, checksum, target],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        answered = subprocess.run(
            [sys.executable, "-c", scripts_of("download")["test"][0], url], timeout=TIMEOUT_S, check=False
        )
        server.shutdown()
        thread.join()
    assert (done.returncode == 0) is right, done.stderr
    assert (target / "my-model" / "config.json").exists() is right
    assert right or "nothing is unpacked" in done.stderr
    assert answered.returncode == 0
