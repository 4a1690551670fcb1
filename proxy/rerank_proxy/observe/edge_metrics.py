"""The metrics of the edge.

The edge runs on one thread and counts every request, so it counts in plain integers, which become metrics
when they are scraped.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Literal

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

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
        self._requests: Counter[tuple[RequestKind, int]] = Counter()
        self._first_byte_counts = [0] * (len(_BUCKETS_S) + 1)
        self._first_byte_sum_s = 0.0
        self.retries = 0
        self.client_connections: Callable[[], float] = _zero
        self.upstream_idle: Callable[[], float] = _zero
        self.upstream_busy: Callable[[], float] = _zero
        self.buffered_bytes: Callable[[], float] = _zero
        self.certificates: dict[str, Callable[[], float | None]] = {}
        self.nodes: Callable[[], list[NodeState]] = _no_nodes
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def request(self, kind: RequestKind, status: int) -> None:
        """Count a request that has been answered or given up."""
        self._requests[kind, status] += 1

    def first_byte(self, seconds: float) -> None:
        """Count an answer of upstream that began `seconds` after the request was sent."""
        self._first_byte_counts[bisect_left(_BUCKETS_S, seconds)] += 1
        self._first_byte_sum_s += seconds

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "rerank_proxy_requests", "Client requests answered, by kind and status.", labels=["kind", "code"]
        )
        for (kind, status), count in sorted(self._requests.items()):
            requests.add_metric([kind, str(status)], count)
        yield requests
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
        for name, time in self.certificates.items():
            if (at := time()) is not None:
                ends.add_metric([name], at)
        return ends

    def _first_byte(self) -> HistogramMetricFamily:
        cumulated = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*_BUCKETS_S, float("inf")), self._first_byte_counts, strict=True):
            cumulated += count
            buckets.append(("+Inf" if bound == float("inf") else str(bound), cumulated))
        return HistogramMetricFamily(
            "rerank_proxy_upstream_first_byte_seconds",
            "Seconds from sending a request to Elasticsearch to the first byte of its answer.",
            buckets=buckets,
            sum_value=self._first_byte_sum_s,
        )
