"""Adds up the metrics of several processes."""

from collections.abc import Collection, Iterable, Sequence

from prometheus_client.core import Metric
from prometheus_client.samples import Exemplar, Sample

_Key = tuple[str, frozenset[tuple[str, str]]]


def added(groups: Iterable[Sequence[Metric]], lowest: Collection[str] = ()) -> list[Metric]:
    """Return families whose samples are the sums of those in `groups`, the families of one process each.

    Samples belong together if they have the same name and labels. Of their exemplars the latest is kept.

    Args:
        lowest: Names of gauges of which the lowest counts, because a sum has no meaning.
    """
    sums: dict[str, _Sum] = {}
    for group in groups:
        for family in group:
            if family.name not in sums:
                sums[family.name] = _Sum(family, lowest=family.name in lowest)
            sums[family.name].add(family)
    return [each.family() for each in sums.values()]


class _Sum:
    """The sum of a family in several processes."""

    def __init__(self, first: Metric, *, lowest: bool) -> None:
        self._head = first
        self._lowest = lowest
        self._samples: dict[_Key, Sample] = {}

    def add(self, family: Metric) -> None:
        for sample in family.samples:
            key = _key(sample)
            earlier = self._samples.get(key)
            self._samples[key] = sample if earlier is None else self._together(earlier, sample)

    def family(self) -> Metric:
        head = self._head
        total = Metric(head.name, head.documentation, head.type, head.unit)
        total.samples = list(self._samples.values())
        return total

    def _together(self, one: Sample, other: Sample) -> Sample:
        value = min(one.value, other.value) if self._lowest else one.value + other.value
        return one._replace(value=value, exemplar=_latest(one.exemplar, other.exemplar))


def _key(sample: Sample) -> _Key:
    return sample.name, frozenset(sample.labels.items())


def _latest(one: Exemplar | None, other: Exemplar | None) -> Exemplar | None:
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda exemplar: exemplar.timestamp or 0)


class Lasting:
    """The metrics of a process that may be started again: what it has counted before is not forgotten.

    Sums of several processes would go back otherwise, and what reads them would take all that the others
    have counted for new.
    """

    def __init__(self) -> None:
        self._ended: list[Metric] = []  # what processes counted that have ended
        self._last: list[Metric] = []  # what the last one had counted when it answered

    def with_earlier(self, answer: Sequence[Metric]) -> list[Sequence[Metric]]:
        """Return metrics to be added up: those of the process, and what it has counted before.

        Args:
            answer: Nothing if it does not answer. Then its gauges are missing.
        """
        if answer:
            counting = _counting(answer)
            if _goes_back(_values(self._last), _values(counting)):
                self._ended = added([self._ended, self._last])
            self._last = counting
            return [answer, self._ended]
        return [self._last, self._ended]


def _counting(families: Iterable[Metric]) -> list[Metric]:
    """Return the families that count: all but gauges, which say how something is now."""
    return [family for family in families if family.type != "gauge"]


def _values(families: Iterable[Metric]) -> dict[_Key, float]:
    return {_key(sample): sample.value for family in families for sample in family.samples}


def _goes_back(earlier: dict[_Key, float], later: dict[_Key, float]) -> bool:
    return any(later.get(key, 0) < value for key, value in earlier.items())
