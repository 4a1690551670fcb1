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
    return _rendered(texts, lowest)


def _rendered(texts: Sequence[bytes], lowest: Collection[str] = (), *, counting: bool = False) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Sums(texts, lowest, counting=counting))
    return generate_latest(registry)


class Lasting:
    """The metrics of a process that may be started again: what it has counted before is not forgotten.

    Sums of several processes would go back otherwise, and what reads them would take all that the others
    have counted for new.
    """

    def __init__(self) -> None:
        self._ended = b""  # what processes counted that have ended
        self._last = b""  # what the last one had counted when it answered

    def with_earlier(self, answer: bytes) -> list[bytes]:
        """Return metrics to be added up: those of the process, and what it has counted before.

        Args:
            answer: Nothing if it does not answer. Then its gauges are missing.
        """
        if answer:
            counters = _counters(answer)
            if _goes_back(_counters(self._last), counters):
                self._ended = _rendered([self._ended, self._last], counting=True)
            self._last = answer
            return [answer, self._ended]
        return [_rendered([self._last], counting=True), self._ended]


def _counters(text: bytes) -> dict[_Key, float]:
    sums = _Sums([text], (), counting=True)
    return {key: value for values in sums.values.values() for key, value in values.items()}


def _goes_back(earlier: dict[_Key, float], later: dict[_Key, float]) -> bool:
    return any(later.get(key, 0) < value for key, value in earlier.items())


class _Sums(Collector):
    """The sums of samples.

    Args:
        counting: Without gauges.
    """

    def __init__(self, texts: Sequence[bytes], lowest: Collection[str], *, counting: bool = False) -> None:
        families: dict[str, Metric] = {}
        self.values: dict[str, dict[_Key, float]] = {}
        for text in texts:
            for family in text_string_to_metric_families(text.decode()):
                if counting and family.type == "gauge":
                    continue
                families.setdefault(family.name, family)
                values = self.values.setdefault(family.name, {})
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
            for (sample, labels), value in self.values[name].items():
                total.add_sample(sample, dict(labels), value)
            yield total
