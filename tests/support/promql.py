"""What expressions of Prometheus name: metrics, labels and values; and promtool, which parses them."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

import yaml

from testbed.debian import debian_program
from testbed.errors import TestbedError
from tests.support.metrics import Documented
from tests.support.obtained import cannot_be_had

OF_TARGETS: Final = {"job", "instance"}
"""Labels that Prometheus gives to all series of a target."""
_VARIABLES: Final = {"$__rate_interval": "5m", "$job": ".*", "$instance": ".*"}
_HISTOGRAM: Final = ("_bucket", "_sum", "_count")
_SELECTOR: Final = re.compile(r"\b((?:job:)?rerank_proxy_\w+(?::\w+)?)(?:\{([^}]*)\})?")
_MATCHER: Final = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING: Final = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")


@cache
def promtool() -> Path:
    """Return the path of promtool, if it can be had."""
    try:
        return debian_program("promtool", "prometheus")
    except TestbedError as failure:
        cannot_be_had(str(failure))


def run_promtool(*arguments: str | Path, stdin: bytes = b"") -> str:
    """Run promtool, and return what it says.

    Raises:
        AssertionError: It has found something; with what it says.
    """
    ran = subprocess.run([promtool(), *arguments], input=stdin, capture_output=True, check=False)
    said = (ran.stdout + ran.stderr).decode()
    assert ran.returncode == 0, said
    return said


def with_values(expression: str) -> str:
    """Return an expression of a dashboard with values for Grafana's variables."""
    for variable, value in _VARIABLES.items():
        expression = expression.replace(variable, value)
    return expression


def check_expressions(expressions: list[str], directory: Path) -> None:
    """Have promtool parse expressions, as rules.

    Raises:
        AssertionError: One cannot be parsed.
    """
    rules = [{"record": f"a:{number}", "expr": each} for number, each in enumerate(expressions)]
    path = directory / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "a", "rules": rules}]}), encoding="utf-8")
    run_promtool("check", "rules", path)


def faults(
    expression: str, metrics: Mapping[str, Documented], recorded: Mapping[str, set[str]]
) -> Iterator[str]:
    """Yield what an expression names that does not exist: metrics, labels, values of labels.

    Args:
        recorded: The labels of what recording rules make, by name.
    """
    known = set(OF_TARGETS)
    for name, matchers in _SELECTOR.findall(expression):
        documented = _find(name, metrics)
        if documented is None and name not in recorded:
            yield f"{name} does not exist"
            continue
        labels = recorded.get(name, set()) if documented is None else {*documented.values}
        known |= labels | ({"le"} if name.endswith("_bucket") else set())
        for label, operator, value in _MATCHER.findall(matchers):
            if label not in labels | OF_TARGETS:
                yield f"{name} has no label {label}"
            elif documented is not None and label in documented.values:
                yield from _values(name, label, operator, value, documented)
    for labels in _GROUPING.findall(expression):
        named = {label.strip() for label in labels.split(",")}
        yield from (f"the label {label} is of none of the metrics" for label in sorted(named - known - {""}))


def _find(name: str, metrics: Mapping[str, Documented]) -> Documented | None:
    if name in metrics:
        return metrics[name] if metrics[name].type != "histogram" else None
    for suffix in _HISTOGRAM:
        found = metrics.get(name.removesuffix(suffix))
        if name.endswith(suffix) and found is not None and found.type == "histogram":
            return found
    return None


def _values(name: str, label: str, operator: str, value: str, documented: Documented) -> Iterator[str]:
    allowed = documented.values[label]
    if allowed is None:
        return
    wanted = value.split("|") if operator.endswith("~") else [value]
    for each in wanted:
        if not any(re.fullmatch(each, one) for one in allowed):
            yield f"{name} has no {label}={each}"


def labels_of(expression: str, metrics: Mapping[str, Documented]) -> set[str]:
    """Return the labels that the series of an expression may have: those of a grouping, or of its metrics."""
    groupings = re.findall(r"\b(?:sum|min|max|count)\s*by\s*\(([^)]*)\)", expression)
    if groupings:
        return {label.strip() for each in groupings for label in each.split(",")} - {"le"}
    if re.search(r"\b(?:sum|min|max|count)\b", expression):
        return set()
    found = (_find(name, metrics) for name, _ in _SELECTOR.findall(expression))
    return OF_TARGETS.union(*(each.values for each in found if each is not None))
