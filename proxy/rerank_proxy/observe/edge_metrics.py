"""The metrics of the edge.

The edge runs on one thread and counts every request, so it counts in plain integers, which become metrics
when they are scraped.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter
from typing import Any, Literal

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from rerank_proxy.observe.nodes import NodeState, node_metrics

RequestKind = Literal["plain", "search", "rerank"]
"""The kind of a request: forwarded without inspection; inspected and forwarded; answered by the
application."""

CLIENT_CLOSED = 499
"""The status that is counted when a client leaves before its answer begins; the number is nginx's."""

MOST_STATUSES = 100
"""Pairs of a kind and a status that are counted each by itself."""
OTHER_STATUSES = 0
"""Stands for all other statuses."""

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_BOUNDS = (*map(str, _BUCKETS_S), "+Inf")

LOWEST_COUNTS = frozenset({"rerank_proxy_certificate_not_after_seconds", "rerank_proxy_upstream_node_up"})
"""Gauges of which, out of those of several edges, the lowest counts and not the sum."""


def _zero() -> float:
    return 0


def _no_nodes() -> list[NodeState]:
    return []


class Durations:
    """A histogram of seconds, with the latest trace in each bucket."""

    __slots__ = ("_counts", "_exemplars", "_sum_s")

    def __init__(self) -> None:
        self._counts = [0] * (len(_BUCKETS_S) + 1)
        self._sum_s = 0.0
        self._exemplars: dict[int, tuple[str, float, float]] = {}

    def observe(self, seconds: float, trace_id: str | None = None) -> None:
        """Count something that took so long."""
        bucket = bisect_left(_BUCKETS_S, seconds)
        self._counts[bucket] += 1
        self._sum_s += seconds
        if trace_id is not None:
            self._exemplars[bucket] = (trace_id, seconds, time.time())

    @property
    def count(self) -> int:
        return sum(self._counts)

    def add_to(self, family: HistogramMetricFamily, labels: list[str]) -> None:
        """Add the samples to a family."""
        cumulated = 0
        buckets: list[Any] = []
        for number, (bound, count) in enumerate(zip(_BOUNDS, self._counts, strict=True)):
            cumulated += count
            buckets.append((bound, cumulated, self._exemplar(number)))
        family.add_metric(labels, buckets, self._sum_s)

    def _exemplar(self, bucket: int) -> Exemplar | None:
        if bucket not in self._exemplars:
            return None
        trace_id, seconds, at = self._exemplars[bucket]
        return Exemplar({"trace_id": trace_id}, seconds, at)


class _ByStatus(dict[tuple[RequestKind, int], Durations]):
    """Histograms by kind and status. The first statuses have their own, and all that come later one together:
    whatever answers in upstream's place may invent any of 900.
    """

    def __missing__(self, key: tuple[RequestKind, int]) -> Durations:
        if len(self) >= MOST_STATUSES:
            key = (key[0], OTHER_STATUSES)
        return self.setdefault(key, Durations())


class EdgeMetrics(Collector):
    """The counters of an edge. Gauges are read from their sources when they are scraped."""

    def __init__(self) -> None:
        self._requests = _ByStatus()
        self._first_byte = Durations()
        self.retries = 0
        self.client_connections: Callable[[], float] = _zero
        self.upstream_idle: Callable[[], float] = _zero
        self.upstream_busy: Callable[[], float] = _zero
        self.buffered_bytes: Callable[[], float] = _zero
        self.certificates: dict[str, Callable[[], float | None]] = {}
        self.handshakes: dict[str, Mapping[Any, int]] = {}
        self.nodes: Callable[[], list[NodeState]] = _no_nodes
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def request(self, kind: RequestKind, status: int, seconds: float, trace_id: str | None = None) -> None:
        """Count a request that has been answered or given up.

        Args:
            seconds: What it took, from its head to the end of its answer.
            trace_id: Of the trace it belongs to, if that is known.
        """
        self._requests[kind, status].observe(seconds, trace_id)

    def first_byte(self, seconds: float) -> None:
        """Count an answer of upstream that began `seconds` after the request was sent."""
        self._first_byte.observe(seconds)

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "rerank_proxy_requests", "Client requests answered, by kind and status.", labels=["kind", "code"]
        )
        seconds = HistogramMetricFamily(
            "rerank_proxy_request_seconds",
            "Seconds from the head of a client's request to the end of its answer, by kind and status.",
            labels=["kind", "code"],
        )
        for (kind, status), durations in sorted(self._requests.items(), key=itemgetter(0)):
            labels = [kind, "other" if status == OTHER_STATUSES else str(status)]
            requests.add_metric(labels, durations.count)
            durations.add_to(seconds, labels)
        yield requests
        yield seconds
        first_byte = HistogramMetricFamily(
            "rerank_proxy_upstream_first_byte_seconds",
            "Seconds from sending a request to Elasticsearch to the first byte of its answer.",
        )
        self._first_byte.add_to(first_byte, [])
        yield first_byte
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
        yield self._handshakes()

    def _handshakes(self) -> CounterMetricFamily:
        handshakes = CounterMetricFamily(
            "rerank_proxy_tls_handshakes_failed",
            "TLS handshakes of clients that failed, by what they connected to and why.",
            labels=["of", "reason"],
        )
        for name, failures in self.handshakes.items():
            for why, count in failures.items():
                handshakes.add_metric([name, why], count)
        return handshakes

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
