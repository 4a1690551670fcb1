"""The state of upstream's nodes, as `/ready` and the metrics show it."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

_PREFIX: Final = "rerank_proxy_upstream_node"


class NodeState(msgspec.Struct, omit_defaults=True):
    """The state of a node.

    Attributes:
        node: `HOST:PORT`.
        up: It is not left out.
        requests: Requests under way, including those that wait for a connection.
        failures: Attempts to connect that failed.
        times_left_out: How often it was left out.
        reason: Why it is left out.
        tried_in_s: Seconds until it is tried again.
        tried: Whether it is known if it can be connected to; one that was never asked anything is up, too.
    """

    node: str
    up: bool
    requests: int
    failures: int
    times_left_out: int
    reason: str | None = None
    tried_in_s: float | None = None
    tried: bool = True


def node_metrics(states: Sequence[NodeState]) -> Iterator[Metric]:
    """Yield the metrics of nodes: a sample for each, which the number of nodes bounds."""
    labels = ["node"]
    up = GaugeMetricFamily(f"{_PREFIX}_up", "1 while a node of Elasticsearch is not left out.", labels=labels)
    requests = GaugeMetricFamily(
        f"{_PREFIX}_requests", "Requests under way at a node of Elasticsearch.", labels=labels
    )
    failures = CounterMetricFamily(
        f"{_PREFIX}_connect_failures", "Attempts to connect to a node that failed.", labels=labels
    )
    left_out = CounterMetricFamily(
        f"{_PREFIX}_left_out", "How often a node was left out because it could not be connected to, or hung.",
        labels=labels,
    )  # fmt: skip
    for state in states:
        up.add_metric([state.node], float(state.up))
        requests.add_metric([state.node], state.requests)
        failures.add_metric([state.node], state.failures)
        left_out.add_metric([state.node], state.times_left_out)
    yield from (up, requests, failures, left_out)
