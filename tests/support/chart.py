"""The chart, rendered with sets of values that use all of it."""

import json
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from deploy.made_files import CHART
from tests.support.kubernetes_tools import helm, run
from tests.support.manifests import Document, documents, only

URL: Final = {"upstream": {"url": "https://es.example.com:9200"}}
ECK: Final = {"upstream": {"eck": {"name": "my-cluster"}}}
MODEL: Final = {
    "models": {"reranker": {"source": "/models/my-model"}},
    "endpoints": {".rerank-v1-elasticsearch": {"model": "reranker"}},
}
SECRET: Final = {"secrets": {"existingSecret": "rerank-proxy"}}
SHA256: Final = "0" * 64
CLAIM: Final = {"modelVolume": {"type": "claim", "claim": {"name": "reranker-models"}}}
CLOUD_ID: Final = f"search:{b64encode(b'eu.example.com:9243$elasticsearch').decode()}"
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
        "serviceMonitor": {
            "enabled": True,
            "labels": {"release": "prometheus"},
            "relabelings": [{"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}],
            "metricRelabelings": [{"sourceLabels": ["__name__"], "regex": "process_.*", "action": "drop"}],
        },
    },
    "monitoring": {
        **URL,
        **SECRET,
        "podMonitor": {"enabled": True},
        "prometheusRule": {
            "enabled": True,
            "labels": {"a": "b"},
            "runbooks": "https://wiki.example.com/runbooks",
        },
        "dashboards": {"enabled": True, "annotations": {"grafana_folder": "Search"}},
    },
    "open-shift": {**URL, **MODEL, **DOWNLOAD, "openShift": "on"},
    "service": {
        **URL,
        "service": {
            "type": "LoadBalancer",
            "nodePort": 30920,
            "sessionAffinity": "ClientIP",
            "sessionAffinityTimeoutSeconds": 600,
            "ipFamilyPolicy": "SingleStack",
            "ipFamilies": ["IPv6"],
            "externalTrafficPolicy": "Local",
            "loadBalancerClass": "example.com/internal",
            "loadBalancerSourceRanges": ["192.0.2.0/24"],
            "annotations": {"a": "b"},
            "labels": {"c": "d"},
        },
        "ipv6": True,
    },
    "odd-names": {
        **URL,
        **MODEL,
        "nameOverride": "1" * 63,
        "fullnameOverride": "a" * 63,
        "commonLabels": {"app.kubernetes.io/name": "another", "number": "1"},
        "podLabels": {"app.kubernetes.io/instance": "another", "number": "true"},
        "podAnnotations": {"number": "0x1"},
        "nodeSelector": {"gpu": "true"},
        "priorityClassName": "1",
        "schedulerName": "1e3",
        "serviceAccount": {"name": "null"},
        "secrets": {"existingSecret": "2024"},
        "upstream": {**URL["upstream"], "caSecret": {"name": "007", "key": "12"}},
        "tls": {"secretName": "1234"},
        "registry": {"store": "index", "username": "1", "passwordSecret": {"name": "1", "key": "2"}},
        "modelVolume": {"type": "claim", "claim": {"name": "1e3", "subPath": "2024"}},
        "podMonitor": {"enabled": True, "labels": {"number": "1"}},
    },
    "cloud": {"config": {"upstream": {"cloud_id": CLOUD_ID}}, "networkPolicy": {"enabled": True}},
    "tls-of-settings": {
        **URL,
        **SECRET,
        "config": {"admin": {"tls": {"cert": "/tls/tls.crt"}}, "tls": {"cert": "/tls/tls.crt"}},
        "extraVolumes": [{"name": "more", "secret": {"secretName": "more"}}],
        "extraVolumeMounts": [{"name": "more", "mountPath": "/tls", "readOnly": True}],
        "podMonitor": {"enabled": True},
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
        "schedulerName": "binpacking",
        "hostAliases": [{"ip": "192.0.2.1", "hostnames": ["es.example.com"]}],
        "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["192.0.2.2"], "options": [{"name": "ndots", "value": "1"}]},
        "deploymentAnnotations": {"g": "h"},
        "minReadySeconds": 5,
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

CHOICES: Final[Mapping[str, list[Any]]] = {
    "modelVolume": [SETS[name]["modelVolume"] for name in ("download", "made-claim")],
    "tls": [{"secretName": "rerank-tls"}, {"secretName": "rerank-tls", "admin": True}],
    "registry": [{"store": "index"}],
    "gpu": [{"enabled": True, "count": 2}],
    "openShift": ["on", "off"],
    "networkPolicy": [{"enabled": True, "vendors": True}, SETS["network-policy"]["networkPolicy"]],
    "autoscaling": [{"enabled": True}, SETS["gpu"]["autoscaling"]],
    "ingress": [SETS["routes"]["ingress"]],
    "httpRoute": [SETS["routes"]["httpRoute"]],
    "service": [SETS["service"]["service"]],
    "podDisruptionBudget": [{"enabled": False}, {"maxUnavailable": "30%"}],
    "topologySpreadConstraints": [[]],
    "extraArgs": [["--edge-processes=2", "--engine-threads=1"]],
}
"""By value, what it may be in any combination."""
MONITORS: Final = [{}, {"podMonitor": {"enabled": True}}, {"serviceMonitor": {"enabled": True}}]


@cache
def rendered(name: str, version: int = 4, kubernetes: str = "1.37") -> str:
    return rendered_with(SETS[name], version, kubernetes)


def rendered_with(
    given: Mapping[str, Any],
    version: int = 4,
    kubernetes: str = "1.37",
    succeeds: bool = True,
    release: str = "search",
) -> str:
    """Render the chart as a release of the namespace `apps`; or return why it cannot be."""
    command: list[str | Path] = [
        helm(version),
        "template",
        release,
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
