"""Adds up the metrics of several processes that do the same."""

from collections.abc import Collection, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

_Key = tuple[str, tuple[tuple[str, str], ...]]


def added(texts: Sequence[bytes], lowest: Collection[str] = ()) -> bytes:
    """Return metrics in Prometheus' text format whose samples are the sums of those in `texts`.

    Samples belong together if they have the same name and labels.

    Args:
        lowest: Names of gauges of which the lowest counts, because a sum has no meaning.
    """
    registry = CollectorRegistry()
    registry.register(_Sums(texts, lowest))
    return generate_latest(registry)


class _Sums(Collector):
    def __init__(self, texts: Sequence[bytes], lowest: Collection[str]) -> None:
        families: dict[str, Metric] = {}
        self._values: dict[str, dict[_Key, float]] = {}
        for text in texts:
            for family in text_string_to_metric_families(text.decode()):
                families.setdefault(family.name, family)
                values = self._values.setdefault(family.name, {})
                for sample in family.samples:
                    key = (sample.name, tuple(sample.labels.items()))
                    if key not in values:
                        values[key] = sample.value
                    elif family.name in lowest:
                        values[key] = min(values[key], sample.value)
                    else:
                        values[key] += sample.value
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for name, family in self._families.items():
            total = Metric(name, family.documentation, family.type)
            for (sample, labels), value in self._values[name].items():
                total.add_sample(sample, dict(labels), value)
            yield total
