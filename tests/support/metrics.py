"""Metrics as scrapers read them, and as docs/metrics.md documents them."""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from tests.support.project import ROOT

__all__ = ["Documented", "declared_labels", "differences", "documented", "read_openmetrics", "read_text"]

read_openmetrics: Final[Callable[[str], Iterable[Metric]]] = openmetrics.text_string_to_metric_families
"""Reads OpenMetrics, strictly."""

_HEAD: Final = "| Metric | Type | Labels | Meaning |\n| --- | --- | --- | --- |\n"
_SUFFIXES: Final = {"counter": "_total", "info": "_info"}
_OF_BUCKETS: Final = {"le"}


@dataclass(frozen=True)
class Documented:
    """A row of the page.

    Attributes:
        values: The values of each label that may only have these; None for other labels.
        optional: The labels that not every sample has.
    """

    type: str
    values: Mapping[str, frozenset[str] | None]
    optional: frozenset[str]


def documented(page: str) -> dict[str, Documented]:
    """Return what the tables of the page say, by the metrics' names."""
    rows: dict[str, Documented] = {}
    for table in page.split(_HEAD)[1:]:
        for line in table.partition("\n\n")[0].splitlines():
            metric, type_, labels, _ = (cell.strip() for cell in line.strip("|").split(" |"))
            name = metric.strip("`")
            assert name not in rows, f"{name} is there twice"
            rows[name] = _row(type_, labels)
    return rows


def _row(type_: str, cell: str) -> Documented:
    values: dict[str, frozenset[str] | None] = {}
    optional = set()
    for part in filter(None, cell.split("; ")):
        label, _, rest = part.partition(":")
        name = re.fullmatch(r"`(\w+)`( \(.*\))?", label)
        assert name is not None, part
        given = frozenset(re.findall(r"`([^`]+)`", rest))
        values[name[1]] = given if given and given != {"HOST:PORT"} else None
        if name[2]:
            optional.add(name[1])
    return Documented(type_, values, frozenset(optional))


def differences(
    rows: Mapping[str, Documented], families: Iterable[Metric], declared: Mapping[str, Iterable[str]]
) -> list[str]:
    """Return in what the page and a proxy differ, in either direction.

    Args:
        families: What is exposed. Of a metric without samples only the type is compared.
        declared: The labels of metrics, as far as they are known before there are samples.
    """
    found = {family.name + _SUFFIXES.get(family.type, ""): family for family in families}
    told = [f"{name} is not documented" for name in found if name not in rows]
    told += [f"{name} does not exist" for name in rows if name not in found]
    for name in sorted({*found} & {*rows}):
        row, family = rows[name], found[name]
        if family.type != row.type:
            told.append(f"{name} is a {family.type}, not a {row.type}")
        if family.name in declared and {*declared[family.name]} != {*row.values}:
            told.append(f"{name} has the labels {sorted(declared[family.name])}, not {sorted(row.values)}")
        told += dict.fromkeys(f"{name} has {each}" for each in _in_samples(row, family))
    return told


def _in_samples(row: Documented, family: Metric) -> Iterator[str]:
    for sample in family.samples:
        labels = {*sample.labels} - _OF_BUCKETS
        yield from (f"a label {label} that is not documented" for label in sorted(labels - {*row.values}))
        yield from (f"no label {label}" for label in sorted({*row.values} - row.optional - labels))
        for label in labels & {*row.values}:
            values = row.values[label]
            if values is not None and sample.labels[label] not in values:
                yield f"{label}={sample.labels[label]} that is not documented"


def declared_labels() -> dict[str, frozenset[str]]:
    """Return the labels of the metrics of all classes that take a registry, in modules named `metrics`.

    They are known before there is a sample. Those of `Info`, which come with their values, are left out.
    """
    metrics: list[MetricWrapperBase] = []
    for path in sorted((ROOT / "proxy").rglob("metrics.py")):
        module = ".".join(path.relative_to(ROOT / "proxy").with_suffix("").parts)
        for make in _makers(module):
            registry = CollectorRegistry()  # for each: some classes are parts of others
            make(registry=registry)
            made = registry._collector_to_names
            metrics += [each for each in made if isinstance(each, MetricWrapperBase)]
    return {each._name: frozenset(each._labelnames) for each in metrics if each._type != "info"}


def _makers(module: str) -> Iterator[Callable[..., object]]:
    """Yield the classes that take a registry. What else they take are functions that read a gauge."""
    for each in vars(import_module(module)).values():
        is_own = inspect.isclass(each) and each.__module__ == module
        if is_own and "registry" in (parameters := inspect.signature(each).parameters):
            required = [name for name, of in parameters.items() if of.default is inspect.Parameter.empty]
            yield partial(each, **dict.fromkeys({*required} - {"registry"}, float))
