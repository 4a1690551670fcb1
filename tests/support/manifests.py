"""What every manifest of deploy/ has to hold, however it was made.

Built-in kinds are held against the schemas of several versions of Kubernetes, custom ones against those of
their operators; pods against the pod security standard `restricted`; the proxy's container against its own
command line, settings and volumes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp
from typing import Any, Final

import jsonschema
import kubernetes_validate.utils
import yaml

from rerank_proxy.cli import main
from rerank_proxy.settings import CONFIG_VARIABLE, SECRETS_DIR_VARIABLE, Settings, load
from tests.support.kubernetes_tools import custom_schemas

Document = dict[str, Any]

# Each validation would read megabytes of definitions anew.
kubernetes_validate.utils.schema_contents = cache(kubernetes_validate.utils.schema_contents)
_valid: Final[set[str]] = set()
"""What was found valid, since sets of values have most documents in common."""

NEWEST: Final[str] = kubernetes_validate.latest_version().rpartition(".")[0]
VERSIONS: Final = ("1.29", "1.33", NEWEST)
"""From the first with native sidecars on by default to the newest that the schemas are here for."""

_BUILT_IN: Final = ("v1", "apps/", "autoscaling/", "policy/", "networking.k8s.io/", "batch/", "node.k8s.io/")
_ALLOWED_VOLUMES: Final = frozenset(
    (
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    )
)
_OF_THE_IMAGE: Final = "/etc/rerank-proxy/rerank-proxy.yaml"
_EVERYWHERE: Final = ("0.0.0.0", "::")
_ECK_VOLUMES: Final = frozenset({"elastic-internal-http-certificates"})
"""Volumes that ECK adds to the pods of Elasticsearch."""


def documents(text: str) -> list[Document]:
    """Return the documents of a YAML text that are not empty."""
    return [
        document
        for document in yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        if document
    ]


def of_kind(manifest: Sequence[Document], kind: str) -> list[Document]:
    return [document for document in manifest if document["kind"] == kind]


def only(manifest: Sequence[Document], kind: str) -> Document:
    """Return the one document of a kind."""
    (found,) = of_kind(manifest, kind)
    return found


def validate(document: Document, since: str = VERSIONS[0]) -> None:
    """Hold a document against the schemas of its kind.

    Args:
        since: The first version of Kubernetes that it is for.

    Raises:
        kubernetes_validate.ValidationError: It does not fit, or an error of `jsonschema` for a custom kind.
    """
    if repr(document) in _valid:
        return
    if document["apiVersion"].startswith(_BUILT_IN):
        for version in VERSIONS:
            if _number(version) >= _number(since):
                kubernetes_validate.validate(document, version, strict=True)
    else:
        _validate_custom(document)
    _valid.add(repr(document))


def _validate_custom(document: Document) -> None:
    # Without looking at the schema itself, which for ECK's takes longer than all else.
    schema = custom_schemas()[document["apiVersion"], document["kind"]]
    jsonschema.Draft202012Validator(schema).validate(document)
    for template in _templates(document):
        pod = {"apiVersion": "v1", "kind": "Pod", **_completed(template)}
        kubernetes_validate.validate(pod, NEWEST, strict=True)


def _number(version: str) -> int:
    return int(version.partition(".")[2])


def _completed(template: Document) -> Document:
    """Return a template with what its operator adds: the image of the main container."""
    spec = template["spec"]
    containers = [{"image": "elasticsearch", **container} for container in spec.get("containers", [])]
    return {
        "metadata": template.get("metadata", {}),
        "spec": {**spec, "containers": containers or [{"name": "main"}]},
    }


def _templates(document: Document) -> Iterator[Document]:
    spec = document.get("spec", {})
    if document["kind"] == "Pod":
        yield document
    elif document["kind"] == "Elasticsearch":
        yield from (nodes["podTemplate"] for nodes in spec["nodeSets"] if "podTemplate" in nodes)
    elif document["kind"] == "Kibana":
        yield spec["podTemplate"]
    elif "template" in spec and "spec" in spec["template"]:
        yield spec["template"]


def pods(manifest: Sequence[Document]) -> list[Document]:
    """Return the specifications of all pods."""
    return [template["spec"] for document in manifest for template in _templates(document)]


def containers_of(pod: Document) -> list[Document]:
    return [*pod.get("initContainers", []), *pod.get("containers", [])]


def proxy_in(pod: Document) -> Document:
    """Return the proxy's container."""
    (found,) = [container for container in containers_of(pod) if container["name"] == "rerank-proxy"]
    return found


def breaches(pod: Document) -> list[str]:
    """Name what a pod has that the pod security standard `restricted`, or the project itself, forbids."""
    found = [key for key in ("hostNetwork", "hostPID", "hostIPC", "hostUsers") if pod.get(key)]
    for volume in pod.get("volumes", []):
        found += [f"volume {volume['name']}: {key}" for key in set(volume) - {"name"} - _ALLOWED_VOLUMES]
    if pod.get("automountServiceAccountToken") is not False:
        found.append("automountServiceAccountToken")
    for container in containers_of(pod):
        found += [f"{container['name']}: {what}" for what in _container_breaches(container, pod)]
    return found


def _container_breaches(container: Document, pod: Document) -> Iterator[str]:
    own = container.get("securityContext", {})
    context = {**pod.get("securityContext", {}), **own}
    if context.get("runAsNonRoot") is not True or context.get("runAsUser", 1) == 0:
        yield "runAsNonRoot"
    if context.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "seccompProfile"
    if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
        yield "allowPrivilegeEscalation"
    if own.get("capabilities") != {"drop": ["ALL"]}:
        yield "capabilities"
    if own.get("readOnlyRootFilesystem") is not True:
        yield "readOnlyRootFilesystem"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "hostPort"
    if "memory" not in container.get("resources", {}).get("limits", {}):
        yield "resources.limits.memory"


@dataclass(frozen=True)
class Proxy:
    """The proxy's container of a pod, with what it is given.

    Attributes:
        settings: As it would load them.
    """

    pod: Document
    container: Document
    settings: Settings

    @classmethod
    def of(cls, pod: Document, manifest: Sequence[Document], directory: Path) -> "Proxy":
        """Load the settings as the container would.

        Args:
            manifest: Has the ConfigMap with the file.
            directory: Where the file is written.

        Raises:
            InvalidSettingsError: They are wrong.
        """
        container = proxy_in(pod)
        values = {each["name"]: each.get("value") for each in container.get("env", [])}
        mounted = _mounted(container)
        file = PurePosixPath(values.get(CONFIG_VARIABLE, _OF_THE_IMAGE))
        volume = _volumes(pod)[mounted[str(file.parent)]]
        config = next(
            each
            for each in of_kind(manifest, "ConfigMap")
            if each["metadata"]["name"] == volume["configMap"]["name"]
        )
        written = directory / file.name
        written.write_text(config["data"][file.name], encoding="utf-8")
        environ = {
            name: "A" * 43 if value is None else value  # a secret, which may be a key
            for name, value in values.items()
            if name.startswith("RERANK_PROXY_")
        }
        secrets = None
        if SECRETS_DIR_VARIABLE in values:
            secret = _volumes(pod)[mounted[values[SECRETS_DIR_VARIABLE]]]
            secrets = write_secrets(directory, _renamed(secret))
        return cls(pod, container, load(written, environ=environ, secrets_dir=secrets))

    def check(self) -> None:
        """Hold the container against its settings, volumes and command line."""
        self._check_arguments()
        self._check_mounts()
        self._check_paths()
        self._check_ports_and_probes()
        lifecycle = self.settings.lifecycle
        grace_s = self.pod.get("terminationGracePeriodSeconds", 30)
        assert lifecycle.drain_delay_s + lifecycle.shutdown_timeout_s < grace_s
        assert self.settings.upstream.verify_certs

    def _check_arguments(self) -> None:
        name, *options = self.container.get("args", ["serve"])
        assert name == "serve"
        main.commands["serve"].make_context("rerank-proxy serve", list(options), resilient_parsing=False)

    def _check_mounts(self) -> None:
        volumes = _volumes(self.pod)
        for container in containers_of(self.pod):
            for mount in container.get("volumeMounts", []):
                assert mount["name"] in volumes or mount["name"] in _ECK_VOLUMES, mount
        writable = [each for each in self.container["volumeMounts"] if not each.get("readOnly")]
        assert {each["mountPath"] for each in writable} <= {"/tmp", "/cache"}
        assert "sizeLimit" in volumes[_mounted(self.container)["/tmp"]]["emptyDir"]

    def _check_paths(self) -> None:
        """Every file that the settings name lies in a volume, under a name that the volume gives it."""
        mounted = _mounted(self.container)
        for path in _paths(self.settings.model_dump()):
            where = next((str(each) for each in path.parents if str(each) in mounted), None)
            assert where is not None, f"{path} is in no volume"
            volume = _volumes(self.pod).get(mounted[where], {})
            source: Document = volume.get("secret") or volume.get("configMap") or {}
            items = source.get("items")
            assert items is None or path.name in [each["path"] for each in items], path

    def _check_ports_and_probes(self) -> None:
        ports = {each["name"]: each["containerPort"] for each in self.container["ports"]}
        admin = self.settings.admin.listen
        for name, path in (("startup", "/live"), ("readiness", "/ready"), ("liveness", "/live")):
            probe = self.container.get(f"{name}Probe")
            if probe is None:
                assert name == "readiness"
                continue
            http = probe["httpGet"]
            assert (http["path"], ports[http["port"]]) == (path, admin.port)
            assert http.get("scheme", "HTTP") == ("HTTPS" if self.settings.admin.tls.cert else "HTTP")
        assert admin.host in _EVERYWHERE
        if self.settings.listen.host in _EVERYWHERE:
            assert self.settings.listen.port in ports.values()


def check(manifest: Sequence[Document], directory: Path, since: str = VERSIONS[0]) -> list[Proxy]:
    """Hold all documents and pods against the rules; return the proxies in them.

    Args:
        directory: For temporary files.
        since: The first version of Kubernetes that they are for.
    """
    names = [(each["kind"], each["metadata"]["name"]) for each in manifest]
    assert len(names) == len(set(names))
    proxies = []
    for document in manifest:
        validate(document, since)
        for template in _templates(document):
            assert breaches(template["spec"]) == []
            if "test" in document["metadata"].get("annotations", {}).get("helm.sh/hook", ""):
                continue
            proxies.append(Proxy.of(template["spec"], manifest, directory))
            proxies[-1].check()
    return proxies


def write_secrets(directory: Path, names: Iterable[str]) -> Path:
    """Make a directory as a Secret with these keys is mounted, and return it."""
    secrets = Path(mkdtemp(dir=directory))
    version = secrets / "..2026_11_27"
    version.mkdir()
    (secrets / "..data").symlink_to(version.name)
    for name in names:
        (version / name).write_text("A" * 43 + "=\n", encoding="utf-8")  # may be a key
        (secrets / name).symlink_to(f"..data/{name}")
    return secrets


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return selector.items() <= labels.items()


def _volumes(pod: Document) -> dict[str, Document]:
    return {volume["name"]: volume for volume in pod.get("volumes", [])}


def _renamed(volume: Document) -> list[str]:
    """Return the files of a volume whose names are not those of the keys."""
    sources = [source.get("secret", {}) for source in volume.get("projected", {}).get("sources", [])]
    return [item["path"] for source in sources for item in source.get("items", [])]


def _mounted(container: Document) -> dict[str, str]:
    """Return the volume at each path."""
    return {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}


def _paths(values: Any) -> Iterator[PurePosixPath]:
    """Yield the absolute paths of files and directories among settings."""
    if isinstance(values, Mapping):
        for value in values.values():
            yield from _paths(value)
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _paths(value)
    elif isinstance(values, Path) or (isinstance(values, str) and values.startswith("/")):
        yield PurePosixPath(values)
