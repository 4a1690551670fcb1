"""The metrics of the supervisor: which of the other processes run."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from rerank_proxy.observe.build import versions


class ProcessMetrics(Collector):
    """What the supervisor knows of its processes.

    Attributes:
        edges: The processes that serve the clients' port, this one included.
        ready: What `/ready` answers.
    """

    def __init__(self) -> None:
        self.ready = False
        self.app_restarts = 0
        self.app_up = False
        self.edges = 1
        self.edge_restarts = 0

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily(
            "rerank_proxy_build", "The versions of the proxy, Python and libraries.", versions()
        )
        yield GaugeMetricFamily("rerank_proxy_ready", "1 while /ready answers 200.", float(self.ready))
        yield CounterMetricFamily(
            "rerank_proxy_app_restarts", "Times the reranking process was started again.", self.app_restarts
        )
        yield GaugeMetricFamily(
            "rerank_proxy_app_up", "1 while the reranking process runs.", float(self.app_up)
        )
        yield GaugeMetricFamily(
            "rerank_proxy_edge_processes", "Processes that serve the clients' port.", self.edges
        )
        yield CounterMetricFamily(
            "rerank_proxy_edge_restarts",
            "Times a process that serves the clients' port was started again.",
            self.edge_restarts,
        )
