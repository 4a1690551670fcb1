"""The files of deploy/ that are made from others: `python -m deploy.made_files` writes them.

The chart's README and schema follow from its values and their comments, the PrometheusRule of kustomize from
the alerts: kustomize cannot make the one out of the other, as the chart does.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from deploy.release.version import ROOT

CHART: Final = ROOT / "deploy" / "helm" / "rerank-proxy"
MONITORING: Final = ROOT / "deploy" / "monitoring"

_LINE: Final = re.compile(r"( *)(?:# (?:-- |@schema )?(.*)|([A-Za-z]\w*):(.*))")
_TYPES: Final = {bool: "boolean", int: "integer", str: "string", dict: "object", list: "array"}

_PAGE: Final = """# rerank-proxy

<!-- Made by `make docs` from values.yaml. Change it there. -->

{description}.
[docs/kubernetes.md](../../../docs/kubernetes.md) walks through it.

```sh
helm install rerank-proxy deploy/helm/rerank-proxy --values my-values.yaml
```

Releases publish it as `oci://ghcr.io/OWNER/REPOSITORY/charts/rerank-proxy`, with their image as
`image.repository`.

The least that `my-values.yaml` says is where Elasticsearch is, where the image is, and where a model
comes from. For a cluster of ECK named `my-cluster` in the same namespace, and a claim that holds the
model's directory:

```json
{example}
```

Kubernetes {kubernetes}, Helm 3 or 4. Values are checked against values.schema.json: a misspelt one is
refused.

| Value | Default | Meaning |
| --- | --- | --- |
{rows}
"""
_EXAMPLE: Final = {
    "image": {"repository": "registry.example.com/rerank-proxy"},
    "upstream": {"eck": {"name": "my-cluster"}},
    "models": {"reranker": {"source": "/models/ms-marco-MiniLM-L-6-v2"}},
    "endpoints": {".rerank-v1-elasticsearch": {"model": "reranker"}},
    "modelVolume": {"type": "claim", "claim": {"name": "reranker-models"}},
}


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the chart that can be given as a whole.

    Attributes:
        path: Its keys, from the outermost.
        meaning: What its comment says; empty if there is none.
        schema: What its comment adds to its schema.
    """

    path: tuple[str, ...]
    default: Any
    meaning: str
    schema: Mapping[str, Any]


def values() -> Iterator[Value]:
    """Yield the chart's values in their order. A block of mappings without a comment is a section."""
    text = _read(CHART / "values.yaml")
    defaults = yaml.safe_load(text)
    path: list[str] = []
    said: list[str] = []
    schema: dict[str, Any] = {}
    whole: tuple[str, ...] = ()
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            said, schema = [], {}
            continue
        indent, comment, key, rest = match.groups()
        if comment is not None and "# @schema " in line:
            schema = json.loads(comment)
        elif comment is not None:
            said = [comment] if "# -- " in line else [*said, comment] if said else []
        else:
            path = [*path[: len(indent) // 2], key]
            inside = bool(whole) and tuple(path[: len(whole)]) == whole
            if not inside and (said or rest.strip()):
                whole = tuple(path)
                yield Value(whole, _get(defaults, whole), " ".join(said), schema)
            said, schema = [], {}


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def _get(values: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        values = values[key]
    return values


def schema() -> dict[str, Any]:
    """Return the JSON schema of the values: sections take no other keys than those that are there."""
    root = _section()
    for value in values():
        section = root
        for key in value.path[:-1]:
            section = section["properties"].setdefault(key, _section())
        section["properties"][value.path[-1]] = {
            "description": value.meaning,
            "type": _TYPES.get(type(value.default), "null"),
            **value.schema,
        }
    root["properties"] |= {
        "global": {"description": "What charts around this one share.", "type": "object"},
        "enabled": {"description": "The condition by which a chart takes this one in.", "type": "boolean"},
    }
    return {"$schema": "http://json-schema.org/draft-07/schema#", **root}


def _section() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def readme() -> str:
    """Return the README of the chart."""
    chart = yaml.safe_load(_read(CHART / "Chart.yaml"))
    rows = (
        f"| `{'.'.join(each.path)}` | `{json.dumps(each.default, ensure_ascii=False)}` | {each.meaning} |"
        for each in values()
    )
    return _PAGE.format(
        description=chart["description"],
        example=json.dumps(_EXAMPLE, indent=2),
        kubernetes=chart["kubeVersion"].removesuffix("-0").replace(">=", "from ").removesuffix(".0"),
        rows="\n".join(rows),
    )


def prometheus_rule() -> str:
    """Return the PrometheusRule for kustomize."""
    head = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "rerank-proxy"},
    }
    alerts = yaml.safe_load(_read(MONITORING / "alerts.yaml"))
    made = yaml.safe_dump({**head, "spec": alerts}, sort_keys=False, width=120, allow_unicode=True)
    return f"# Made by `make docs` from deploy/monitoring/alerts.yaml. Change it there.\n{made}"


def made() -> dict[Path, str]:
    """Return what each file that is made has to hold."""
    return {
        CHART / "README.md": readme(),
        CHART / "values.schema.json": json.dumps(schema(), indent=2, ensure_ascii=False) + "\n",
        MONITORING / "prometheusrule.yaml": prometheus_rule(),
    }


if __name__ == "__main__":
    for file, text in made().items():
        file.write_text(text, encoding="utf-8")
