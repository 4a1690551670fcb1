"""The examples of deploy/kubernetes, against the rules of all manifests and against what each is for."""

import copy
import re
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml

from rerank_proxy.settings import SECRETS_DIR_VARIABLE, Address, load
from tests.support.manifests import (
    NEWEST,
    VERSIONS,
    Document,
    Proxy,
    breaches,
    check,
    documents,
    of_kind,
    only,
    pods,
    proxy_in,
    selects,
    write_secrets,
)
from tests.support.pages import read
from tests.support.project import ROOT

FOLDER: Final = ROOT / "deploy" / "kubernetes"
MANIFESTS: Final = ["eck-elasticsearch", "eck-kibana", "sidecar"]


def text_of(name: str) -> str:
    return read(FOLDER / f"{name}.yaml")


def manifest_of(name: str) -> list[Document]:
    return documents(text_of(name))


def proxy_of(name: str, directory: Path) -> Proxy:
    manifest = manifest_of(name)
    (pod,) = pods(manifest)
    return Proxy.of(pod, manifest, directory)


def test_each_file_is_checked() -> None:
    named = {f"{name}.yaml" for name in (*MANIFESTS, "prometheus-adapter-values")}
    assert named == {file.name for file in FOLDER.iterdir()}


@pytest.mark.parametrize("name", MANIFESTS)
def test_keeps_to_the_rules_of_all_manifests(name: str, tmp_path: Path) -> None:
    assert len(check(manifest_of(name), tmp_path)) == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_the_sidecar_is_valid_without_any_tool(version: str) -> None:
    for document in manifest_of("sidecar"):
        if document["kind"] != "PodMonitor":
            assert kubernetes_validate.validate(document, version, strict=True) == version


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"readinesProbe": {}}, "readinesProbe"),
        ({"restartPolicy": 1}, "1 is not of type"),
        ({"resources": {"limits": ["2Gi"]}}, "2Gi"),
    ],
)
def test_the_check_finds_mistakes(wrong: dict[str, Any], message: str) -> None:
    broken = copy.deepcopy(only(manifest_of("sidecar"), "Deployment"))
    broken["spec"]["template"]["spec"]["initContainers"][0].update(wrong)
    with pytest.raises(kubernetes_validate.ValidationError, match=message):
        kubernetes_validate.validate(broken, NEWEST, strict=True)


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"hostNetwork": True}, "hostNetwork"),
        ({"automountServiceAccountToken": True}, "automountServiceAccountToken"),
        ({"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}, "volume host: hostPath"),
        ({"securityContext": {"runAsUser": 0}}, ""),
        ({"containers": [{"name": "bare"}]}, "bare: runAsNonRoot"),
        ({"containers": [{"name": "bare"}]}, "bare: seccompProfile"),
        ({"containers": [{"name": "bare"}]}, "bare: allowPrivilegeEscalation"),
        ({"containers": [{"name": "bare"}]}, "bare: capabilities"),
        ({"containers": [{"name": "bare"}]}, "bare: readOnlyRootFilesystem"),
        ({"containers": [{"name": "bare"}]}, "bare: resources.limits.memory"),
        ({"containers": [{"name": "bare", "ports": [{"hostPort": 1}]}]}, "bare: hostPort"),
    ],
)
def test_breaches_of_the_standard_are_found(changed: dict[str, Any], found: str) -> None:
    (pod,) = pods(manifest_of("sidecar"))
    assert breaches(pod) == []
    assert found in [*breaches({**pod, **changed}), ""]


def test_the_sidecar_starts_first_and_stops_last(tmp_path: Path) -> None:
    proxy = proxy_of("sidecar", tmp_path)
    assert proxy.pod["initContainers"] == [proxy.container]
    assert proxy.container["restartPolicy"] == "Always"
    assert proxy.settings.listen == Address("127.0.0.1", 9201)
    (application,) = proxy.pod["containers"]
    assert {"name": "ELASTICSEARCH_URL", "value": f"http://{proxy.settings.listen}"} in application["env"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_models_come_from_the_volume_alone(name: str, tmp_path: Path) -> None:
    settings = proxy_of(name, tmp_path).settings
    assert settings.engine.offline
    assert ".rerank-v1-elasticsearch" in settings.endpoints
    assert settings.upstream.node_urls[0].startswith("https://")


@pytest.mark.parametrize("name", MANIFESTS)
def test_buffers_fit_into_the_memory_limit(name: str, tmp_path: Path) -> None:
    proxy = proxy_of(name, tmp_path)
    limit = proxy.container["resources"]["limits"]["memory"]
    assert limit.endswith("Gi")
    buffered = proxy.settings.edge.max_buffered + proxy.settings.search.max_response
    assert buffered < int(limit[:-2]) * 1024**3 / 4


@pytest.mark.parametrize("name", ["sidecar", "eck-elasticsearch"])
def test_replicas_share_their_endpoints_and_secrets_are_named_as_settings(name: str, tmp_path: Path) -> None:
    proxy = proxy_of(name, tmp_path)
    assert proxy.settings.registry.store == "index"
    named = re.findall(r"from-literal=([a-z]+__[a-z_]+)=", text_of(name))
    named += re.findall(r"path: ([a-z]+__[a-z_]+)\}", text_of(name))
    written = tmp_path / "rerank-proxy.yaml"
    read_with = load(written, environ={}, secrets_dir=write_secrets(tmp_path, named))
    assert read_with.registry.key is not None
    assert read_with.admin.token is not None
    assert read_with.registry.api_key is not None or read_with.registry.password is not None
    assert {"name": SECRETS_DIR_VARIABLE, "value": "/run/secrets/rerank-proxy"} in proxy.container["env"]


def test_prometheus_shows_the_token_and_finds_the_port(tmp_path: Path) -> None:
    manifest = manifest_of("sidecar")
    monitor = only(manifest, "PodMonitor")["spec"]
    (scraped,) = monitor["podMetricsEndpoints"]
    assert scraped["port"] in [port["name"] for port in proxy_of("sidecar", tmp_path).container["ports"]]
    assert f"--from-literal={scraped['authorization']['credentials']['key']}=" in text_of("sidecar")
    labels = only(manifest, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert selects(monitor["selector"]["matchLabels"], labels)


class TestInElasticsearchsPods:
    def test_a_second_service_leads_to_the_proxies(self, tmp_path: Path) -> None:
        manifest = manifest_of("eck-elasticsearch")
        cluster, service = only(manifest, "Elasticsearch"), only(manifest, "Service")
        name = cluster["metadata"]["name"]
        assert service["spec"]["selector"] == {"elasticsearch.k8s.elastic.co/cluster-name": name}
        ports = {
            port["name"]: port["containerPort"]
            for port in proxy_of("eck-elasticsearch", tmp_path).container["ports"]
        }
        assert ports[service["spec"]["ports"][0]["targetPort"]] == 9201
        alternative = cluster["spec"]["http"]["tls"]["selfSignedCertificate"]["subjectAltNames"]
        assert {"dns": f"{service['metadata']['name']}.default.svc"} in alternative

    def test_each_is_in_front_of_its_own_node_and_shows_its_certificate(self, tmp_path: Path) -> None:
        settings = proxy_of("eck-elasticsearch", tmp_path).settings
        assert settings.upstream.url == "https://127.0.0.1:9200"
        assert settings.upstream.server_name == "my-cluster-es-http.default.svc"
        assert settings.tls.cert is not None
        assert settings.upstream.ca_certs is not None
        assert settings.tls.cert.parent == settings.upstream.ca_certs.parent

    def test_its_account_has_the_privileges_that_it_needs(self, tmp_path: Path) -> None:
        manifest = manifest_of("eck-elasticsearch")
        registry = proxy_of("eck-elasticsearch", tmp_path).settings.registry
        assert registry.username is not None
        roles = yaml.safe_load(only(manifest, "Secret")["stringData"]["roles.yml"])
        privileges = roles["rerank_proxy"]
        assert f"--from-literal=roles={next(iter(roles))}" in text_of("eck-elasticsearch")
        assert privileges["indices"][0]["names"] == [registry.index]
        documented = re.search(r'"privileges": (\[[^\]]+\])', read(ROOT / "docs" / "endpoints.md"))
        assert documented is not None
        assert privileges["indices"][0]["privileges"] == yaml.safe_load(documented[1])

    def test_a_model_that_loads_takes_no_node_out_of_the_cluster(self) -> None:
        (pod,) = pods(manifest_of("eck-elasticsearch"))
        assert "readinessProbe" not in proxy_in(pod)


def test_kibana_asks_the_proxy_in_its_pod(tmp_path: Path) -> None:
    kibana = only(manifest_of("eck-kibana"), "Kibana")["spec"]
    settings = proxy_of("eck-kibana", tmp_path).settings
    assert kibana["config"]["elasticsearch.hosts"] == [f"http://{settings.listen}"]


def test_the_adapter_serves_a_metric_of_the_proxy_by_its_own_name() -> None:
    (rule,) = yaml.safe_load(text_of("prometheus-adapter-values"))["rules"]["custom"]
    name = rule["name"]["as"]
    assert rule["seriesQuery"].startswith(f"{name}{{")
    pages = "".join(read(file) for file in (ROOT / "docs").glob("*.md"))
    assert f"| `{name}` |" in pages


def test_no_secret_is_in_an_example() -> None:
    for name in MANIFESTS:
        secrets = of_kind(manifest_of(name), "Secret")
        assert all(
            set(each.get("stringData", {})) <= {"roles.yml"} and "data" not in each for each in secrets
        )
