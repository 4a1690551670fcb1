"""The chart, rendered by Helm with many values, against the rules of all manifests and what was asked."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deploy.made_files import CHART, MONITORING
from tests.support.chart import (
    ARCHIVE,
    CHOICES,
    CLAIM,
    ECK,
    MODEL,
    MONITORS,
    SECRET,
    SETS,
    SHA256,
    URL,
    deployment_of,
    manifest_of,
    pod_of,
    rendered,
    rendered_with,
)
from tests.support.examples import examples
from tests.support.kubernetes_tools import helm, run
from tests.support.manifests import (
    Document,
    check,
    documents,
    of_kind,
    only,
    pods,
    proxy_in,
    selects,
    validate,
)
from tests.support.pages import read


@pytest.mark.parametrize("name", SETS)
def test_keeps_to_the_rules_of_all_manifests(name: str, tmp_path: Path) -> None:
    assert len(check(manifest_of(name), tmp_path)) == 1


def test_an_image_volume_is_for_kubernetes_from_1_33(tmp_path: Path) -> None:
    volume = {"modelVolume": {"type": "image", "image": {"reference": "registry.example.com/model:1"}}}
    (proxy,) = check(documents(rendered_with({**URL, **MODEL, **volume})), tmp_path, since="1.33")
    assert {"reference": "registry.example.com/model:1", "pullPolicy": "IfNotPresent"} in [
        volume.get("image") for volume in proxy.pod["volumes"]
    ]


@given(
    st.sampled_from([URL, ECK]),
    st.fixed_dictionaries({}, optional={name: st.sampled_from(given) for name, given in CHOICES.items()}),
    st.sampled_from(MONITORS),
)
@examples(0.2)
def test_any_combination_keeps_to_them(
    tmp_path: Path, upstream: dict[str, Any], chosen: dict[str, Any], monitor: dict[str, Any]
) -> None:
    check(documents(rendered_with({**SECRET, **MODEL, **CLAIM, **upstream, **chosen, **monitor})), tmp_path)


def test_a_mistake_in_a_custom_resource_is_found() -> None:
    monitor = only(manifest_of("service-monitor"), "ServiceMonitor")
    mistakes: list[dict[str, Any]] = [{"endpoint": []}, {"endpoints": [{"interval": 30}]}]
    for wrong in mistakes:
        with pytest.raises(jsonschema.ValidationError):
            validate({**monitor, "spec": {**monitor["spec"], **wrong}})


@pytest.mark.parametrize("name", ["least", "eck", "more", "tls", "odd-names", "cloud"])
def test_helm_3_renders_the_same(name: str) -> None:
    theirs = documents(rendered(name, 3))
    assert sorted(map(repr, theirs)) == sorted(map(repr, manifest_of(name)))


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
        ({**URL, "autoscaling": {"enabled": True, "minReplicas": 9}}, "more than autoscaling.maxReplicas"),
        ({**URL, "autoscaling": {"enabled": True}, "keda": {"enabled": True}}, "either autoscaling or keda"),
        ({**URL, "podMonitor": {"enabled": True}}, "needs a token"),
        (
            {**URL, **SECRET, "podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}},
            "either serviceMonitor",
        ),
        ({**URL, "terminationGracePeriodSeconds": 30}, "terminationGracePeriodSeconds"),
        ({**URL, "config": {"lifecycle": {"drain_delay_s": 30.5}}}, "terminationGracePeriodSeconds"),
        ({**URL, "config": {"listen": "0.0.0.0:9300"}}, "config.listen has to end"),
        ({**URL, "config": {"admin": "0.0.0.0:9300"}}, "config.admin.listen has to end"),
        ({**URL, "config": {"upstream": {"urls": ["http://es:9200"]}}}, "one of config.upstream"),
        ({**URL, "extraEnv": [{"name": "RERANK_PROXY_CONFIG", "value": "/a"}]}, "RERANK_PROXY_CONFIG"),
        ({**URL, "extraEnv": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}, "A is given"),
        ({**URL, "fullnameOverride": "Search"}, "fullnameOverride"),
        ({**URL, "fullnameOverride": "a" * 64}, "fullnameOverride"),
        ({**URL, "podAnnotations": {"prometheus.io/port": 9202}}, "podAnnotations"),
        ({**URL, "nodeSelector": {"gpu": True}}, "nodeSelector"),
        ({**URL, "tolerations": '[{"key": "a"}]'}, "tolerations"),
        ({**URL, "networkPolicy": {"enabled": True}, "modelVolume": {"type": "hub"}}, "keeps pods from"),
        ({"existingConfig": "mine", "networkPolicy": {"enabled": True}}, "networkPolicy.upstreamPorts"),
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


def test_alerts_and_dashboard_are_those_of_the_project() -> None:
    manifest = manifest_of("monitoring")
    dashboard = next(each for each in of_kind(manifest, "ConfigMap") if "rerank-proxy.json" in each["data"])
    assert json.loads(dashboard["data"]["rerank-proxy.json"]) == json.loads(
        read(MONITORING / "dashboard.json")
    )
    rules = only(manifest, "PrometheusRule")["spec"]
    alerts = yaml.safe_load(read(MONITORING / "alerts.yaml"))
    links = [rule["annotations"].pop("runbook_url") for rule in _alerts(rules)]
    names = [rule["alert"].lower() for rule in _alerts(rules)]
    assert links == [f"https://wiki.example.com/runbooks#{name}" for name in names]
    for rule in _alerts(alerts):
        del rule["annotations"]["runbook_url"]
    assert rules == alerts
    assert len(names) > 10


def _alerts(rules: Document) -> list[Document]:
    return [rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule]


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


def test_values_that_look_like_numbers_stay_texts() -> None:
    pod = pod_of("odd-names")
    assert pod["serviceAccountName"] == "null"
    assert [volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume] == [
        "2024",
        "007",
        "1234",
    ]
    numbered = documents(rendered_with(SETS["odd-names"], release="1.23"))
    for document in numbered:
        labels = document["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "1.23"
        assert max(map(len, labels.values())) <= 63
    named = documents(rendered_with(URL, release="search.v2"))
    assert {each["metadata"]["name"] for each in named} >= {"search-v2-rerank-proxy"}


def test_given_labels_do_not_hide_the_pods() -> None:
    deployment = deployment_of("odd-names")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert selects(deployment["selector"]["matchLabels"], labels)
    assert (labels["app.kubernetes.io/instance"], labels["number"]) == ("search", "true")


@pytest.mark.parametrize(
    ("given", "ports"),
    [
        (URL, [9200]),
        (ECK, [9200]),
        ({"upstream": {"url": "https://es.example.com"}}, [443]),
        ({"upstream": {"url": "http://[2001:db8::1]/es"}}, [80]),
        ({"config": {"upstream": {"urls": ["http://a:1", "http://b:2", "http://c:1"]}}}, [1, 2]),
        (SETS["cloud"], [9243]),
    ],
)
def test_the_policy_follows_the_url_of_elasticsearch(given: Mapping[str, Any], ports: list[int]) -> None:
    policy = only(documents(rendered_with({**given, "networkPolicy": {"enabled": True}})), "NetworkPolicy")
    assert policy["spec"]["egress"][1]["ports"] == [{"port": port, "protocol": "TCP"} for port in ports]


def test_the_scheme_follows_the_settings() -> None:
    manifest = manifest_of("tls-of-settings")
    assert [port["name"] for port in only(manifest, "Service")["spec"]["ports"]] == ["https"]
    (scraped,) = only(manifest, "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert scraped["scheme"] == "https"


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
    default = yaml.safe_load(read(CHART / "values.yaml"))["image"]["repository"]
    assert proxy.container["image"] == f"{default}@sha256:{SHA256}"


@pytest.mark.parametrize(
    ("values", "said", "not_said"),
    [
        (URL, ["http://search-rerank-proxy.apps.svc:9200", "no inference endpoint", "admin__token"], []),
        (
            {**URL, **MODEL, **CLAIM, **SECRET},
            ["helm test search"],
            ["no inference endpoint", "admin__token"],
        ),
        (SETS["eck"], ["registry__key"], []),
        (SETS["tls"], ["https://search-rerank-proxy.apps.svc:9200"], ["registry__key", "outside"]),
        (SETS["routes"], ["https://search.example.com"], []),
        (SETS["service"], ["kubectl get service search-rerank-proxy", "loadBalancer.ingress"], ["nodePort"]),
        ({**URL, "service": {"type": "NodePort"}}, ["nodePort"], ["loadBalancer"]),
    ],
)
def test_the_notes_say_what_is_missing(
    values: Mapping[str, Any], said: list[str], not_said: list[str]
) -> None:
    options = ("--namespace", "apps", "--dry-run=client", "--values", "-")
    printed = run(helm(), "install", "search", CHART, *options, stdin=json.dumps(values))
    notes = printed.partition("NOTES:")[2]
    assert [each for each in said if each not in notes] == []
    assert [each for each in not_said if each in notes] == []
