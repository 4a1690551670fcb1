"""The metrics of a process as values: what its control socket tells, and what is added up and written out.

Between processes they go as MessagePack and not as text, which loses either exemplars or types, and takes
longer to read.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar, Sample

CONTENT_TYPE: Final = "application/msgpack"
_UNITS: Final = ("seconds", "bytes")
_WITHOUT_UNIT: Final = ("info", "stateset")


class _Exemplar(msgspec.Struct, array_like=True):
    labels: dict[str, str]
    value: float
    timestamp: float | None


class _Sample(msgspec.Struct, array_like=True):
    name: str
    labels: dict[str, str]
    value: float
    exemplar: _Exemplar | None


class _Family(msgspec.Struct, array_like=True):
    name: str
    documentation: str
    type: str
    unit: str
    samples: list[_Sample]


_DECODER: Final = msgspec.msgpack.Decoder(list[_Family])


def families(*collectors: Collector) -> list[Metric]:
    """Return what the collectors collect, each family with the unit that its name ends with.

    Samples that end in `_created` are left out: they are as many as the series themselves, and say what the
    start time of the process says.
    """
    return [_tidied(metric) for collector in collectors for metric in collector.collect()]


def _tidied(metric: Metric) -> Metric:
    created = f"{metric.name}_created"
    unit = "" if metric.type in _WITHOUT_UNIT else metric.name.rpartition("_")[2]
    tidied = Metric(metric.name, metric.documentation, metric.type, unit if unit in _UNITS else "")
    tidied.samples = [sample for sample in metric.samples if sample.name != created]
    return tidied


def packed(metrics: Iterable[Metric]) -> bytes:
    """Return the form in which processes tell each other metrics."""
    return msgspec.msgpack.encode([_packed(metric) for metric in metrics])


def _packed(metric: Metric) -> _Family:
    samples = [
        _Sample(each.name, dict(each.labels), each.value, _packed_exemplar(each.exemplar))
        for each in metric.samples
    ]
    return _Family(metric.name, metric.documentation, metric.type, metric.unit, samples)


def _packed_exemplar(exemplar: Exemplar | None) -> _Exemplar | None:
    if exemplar is None:
        return None
    at = exemplar.timestamp
    return _Exemplar(dict(exemplar.labels), exemplar.value, None if at is None else float(at))


def unpacked(body: bytes) -> list[Metric]:
    """Return the metrics that `packed` has packed.

    Raises:
        msgspec.DecodeError: It is something else.
    """
    return [_unpacked(family) for family in _DECODER.decode(body)]


def _unpacked(family: _Family) -> Metric:
    metric = Metric(family.name, family.documentation, family.type, family.unit)
    metric.samples = [
        Sample(each.name, each.labels, each.value, None, _unpacked_exemplar(each.exemplar))
        for each in family.samples
    ]
    return metric


def _unpacked_exemplar(exemplar: _Exemplar | None) -> Exemplar | None:
    return None if exemplar is None else Exemplar(exemplar.labels, exemplar.value, exemplar.timestamp)
