"""The metrics of the edge.

The edge runs on one thread and counts every request, so it counts in plain integers, which become metrics
when they are scraped.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from time import time
from typing import Literal

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from rerank_proxy.observe.nodes import NodeState, node_metrics

RequestKind = Literal["plain", "search", "rerank"]
"""The kind of a request: forwarded without inspection; inspected and forwarded; answered by the
application."""

CLIENT_CLOSED = 499
"""The status that is counted when a client leaves before its answer begins; the number is nginx's."""

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


LOWEST_COUNTS = frozenset({"rerank_proxy_certificate_not_after_seconds", "rerank_proxy_upstream_node_up"})
"""Gauges of which, out of those of several edges, the lowest counts and not the sum."""


def _zero() -> float:
    return 0


def _no_nodes() -> list[NodeState]:
    return []


class EdgeMetrics(Collector):
    """The counters of an edge. Gauges are read from their sources when they are scraped."""

    def __init__(self) -> None:
        self._requests: dict[tuple[RequestKind, int], _Durations] = {}
        self._first_bytes = _Durations()
        self.retries = 0
        self.client_connections: Callable[[], float] = _zero
        self.upstream_idle: Callable[[], float] = _zero
        self.upstream_busy: Callable[[], float] = _zero
        self.buffered_bytes: Callable[[], float] = _zero
        self.certificates: dict[str, Callable[[], float | None]] = {}
        self.nodes: Callable[[], list[NodeState]] = _no_nodes
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def request(self, kind: RequestKind, status: int, seconds: float, trace_id: str | None = None) -> None:
        """Count a request that has been answered or given up.

        Args:
            seconds: What it took, from its head to the end of its answer.
            trace_id: Of the trace it belongs to, if that is known.
        """
        try:
            durations = self._requests[kind, status]
        except KeyError:
            durations = self._requests[kind, status] = _Durations()
        bucket = bisect_left(_BUCKETS_S, seconds)
        durations.counts[bucket] += 1
        durations.sum_s += seconds
        if trace_id is not None:
            durations.exemplars[bucket] = Exemplar({"trace_id": trace_id}, seconds, time())

    def first_byte(self, seconds: float) -> None:
        """Count an answer of upstream that began `seconds` after the request was sent."""
        self._first_bytes.counts[bisect_left(_BUCKETS_S, seconds)] += 1
        self._first_bytes.sum_s += seconds

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "rerank_proxy_requests", "Client requests answered, by kind and status.", labels=["kind", "code"]
        )
        seconds = HistogramMetricFamily(
            "rerank_proxy_request_seconds",
            "Seconds from a request's head to the end of its answer, by kind and status.",
            labels=["kind", "code"],
        )
        for (kind, status), durations in sorted(self._requests.items(), key=lambda item: item[0]):
            requests.add_metric([kind, str(status)], sum(durations.counts))
            seconds.add_metric([kind, str(status)], durations.buckets(), durations.sum_s)
        yield requests
        yield seconds
        yield self._first_byte()
        yield CounterMetricFamily(
            "rerank_proxy_upstream_retries",
            "Requests sent again because their connection was closed before a byte of an answer came.",
            self.retries,
        )
        yield GaugeMetricFamily(
            "rerank_proxy_client_connections", "Open connections of clients.", self.client_connections()
        )
        connections = GaugeMetricFamily(
            "rerank_proxy_upstream_connections", "Open connections to Elasticsearch.", labels=["state"]
        )
        connections.add_metric(["idle"], self.upstream_idle())
        connections.add_metric(["busy"], self.upstream_busy())
        yield connections
        yield from node_metrics(self.nodes())
        yield GaugeMetricFamily(
            "rerank_proxy_buffered_bytes", "Bytes of search bodies held in memory.", self.buffered_bytes()
        )

        yield self._certificates()

    def _certificates(self) -> GaugeMetricFamily:
        ends = GaugeMetricFamily(
            "rerank_proxy_certificate_not_after_seconds",
            "UNIX time until which a certificate that the proxy shows is valid.",
            labels=["of"],
        )
        for name, end in self.certificates.items():
            if (at := end()) is not None:
                ends.add_metric([name], at)
        return ends

    def _first_byte(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(
            "rerank_proxy_upstream_first_byte_seconds",
            "Seconds from sending a request to Elasticsearch to the first byte of its answer.",
            buckets=self._first_bytes.buckets(),
            sum_value=self._first_bytes.sum_s,
        )


class _Durations:
    """How often something took how long.

    Attributes:
        counts: By bucket, of which each has only its own.
        exemplars: By bucket, the last one whose trace is known.
    """

    __slots__ = ("counts", "exemplars", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BUCKETS_S) + 1)
        self.sum_s = 0.0
        self.exemplars: dict[int, Exemplar] = {}

    def buckets(self) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
        """Return the upper bounds with the counts of all up to each, as Prometheus has them."""
        shown: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
        cumulated = 0
        for at, (bound, count) in enumerate(zip((*_BUCKETS_S, float("inf")), self.counts, strict=True)):
            cumulated += count
            name = "+Inf" if bound == float("inf") else str(bound)
            exemplar = self.exemplars.get(at)
            shown.append((name, cumulated) if exemplar is None else (name, cumulated, exemplar))
        return shown
