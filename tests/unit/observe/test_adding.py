"""The metrics of several processes as one."""

from collections.abc import Iterable, Sequence
from functools import partial

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import Metric

from rerank_proxy.observe.adding import Lasting, added
from rerank_proxy.observe.edge_metrics import LOWEST_COUNTS, MOST_STATUSES, EdgeMetrics, RequestKind
from rerank_proxy.observe.families import families, packed, unpacked
from tests.support.examples import examples

KINDS: list[RequestKind] = ["plain", "search", "rerank"]
SECONDS = st.sampled_from([0.0005, 0.25, 0.5, 8.0, 64.0])
REQUESTS = st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from([200, 404]), SECONDS))
TIMES = st.lists(SECONDS)

Requests = Sequence[tuple[RequestKind, int, float]]
Edge = tuple[Requests, Sequence[float], int]
Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


def edge_metrics(edges: Sequence[Edge]) -> list[Metric]:
    """Return the metrics of one edge that has seen all that several have, as they come over its socket."""
    metrics = EdgeMetrics()
    for requests, times, _ in edges:
        for kind, status, seconds in requests:
            metrics.request(kind, status, seconds)
        for seconds in times:
            metrics.first_byte(seconds)
    metrics.client_connections = lambda: sum(connections for _, _, connections in edges)
    return unpacked(packed(families(metrics)))


def samples(metrics: Iterable[Metric]) -> Values:
    return {
        (sample.name, frozenset(sample.labels.items())): round(sample.value, 6)
        for family in metrics
        for sample in family.samples
    }


def heads(metrics: Iterable[Metric]) -> list[tuple[str, str, str, str]]:
    return [(family.name, family.documentation, family.type, family.unit) for family in metrics]


@examples(0.5)
@given(st.lists(st.tuples(REQUESTS, TIMES, st.integers(0, 9)), min_size=1, max_size=4))
def test_several_edges_count_as_one(edges: list[Edge]) -> None:
    assert samples(added([edge_metrics([edge]) for edge in edges])) == samples(edge_metrics(edges))


def test_help_types_and_units_stay() -> None:
    metrics = families(EdgeMetrics())
    assert heads(added([metrics, metrics])) == heads(metrics) == heads(unpacked(packed(metrics)))


def test_gauges_without_a_meaningful_sum() -> None:
    groups = []
    for end in (300, 200, 400):
        metrics = EdgeMetrics()
        metrics.certificates["listener"] = partial(float, end)
        groups.append(families(metrics))
    key = ("rerank_proxy_certificate_not_after_seconds", frozenset({("of", "listener")}))
    assert samples(added(groups, LOWEST_COUNTS))[key] == 200


def test_process_that_does_not_answer() -> None:
    metrics = edge_metrics([([("plain", 200, 0.5)], [0.5], 3)])
    assert samples(added([metrics, []])) == samples(metrics)


def test_the_latest_exemplar_of_each_bucket_stays() -> None:
    lasting, seen = Lasting(), []
    for number, seconds in enumerate((0.3, 0.4, 3.0)):
        metrics = EdgeMetrics()
        metrics.request("plain", 200, seconds, f"trace {number}")
        answer = unpacked(packed(families(metrics)))
        seen.append(answer)
        lasting.with_earlier(answer)  # each ends, and the next one has counted less of another bucket
    for total in (added(seen), added(lasting.with_earlier([]))):
        exemplars = {
            sample.labels["le"]: (sample.exemplar.labels, sample.exemplar.value)
            for family in total
            for sample in family.samples
            if sample.exemplar is not None
        }
        assert exemplars == {"0.5": ({"trace_id": "trace 1"}, 0.4), "5.0": ({"trace_id": "trace 2"}, 3.0)}


def counters(metrics: Iterable[Metric]) -> Values:
    return {
        key: value
        for key, value in samples(metrics).items()
        if key[0].endswith(("_total", "_bucket", "_count"))
    }


@examples(0.2)
@given(
    st.lists(
        st.tuples(st.lists(st.tuples(REQUESTS, TIMES), min_size=1, max_size=2), st.booleans()), max_size=4
    )
)
def test_what_has_been_counted_stays_when_a_process_is_started_again(
    processes: list[tuple[list[tuple[Requests, Sequence[float]]], bool]],
) -> None:
    """One after the other, of which some do not answer for a while before they end."""
    lasting = Lasting()
    before: Values = {}
    for steps, falls_silent in processes:
        seen: list[Edge] = []
        for requests, times in steps:
            seen.append((requests, times, 3))
            after = counters(added(lasting.with_earlier(edge_metrics(seen))))
            assert all(after[key] >= value for key, value in before.items())
            before = after
        if falls_silent:
            assert counters(added(lasting.with_earlier([]))) == before


def test_sums_over_restarts() -> None:
    lasting = Lasting()
    key = ("rerank_proxy_requests_total", frozenset({("kind", "plain"), ("code", "200")}))
    connections = ("rerank_proxy_client_connections", frozenset[tuple[str, str]]())
    seen = []
    for count in (3, 5, 2, None, 4, 1):
        answer = [] if count is None else edge_metrics([([("plain", 200, 0.5)] * count, [], 7)])
        total = samples(added(lasting.with_earlier(answer)))
        seen.append(total[key])
        assert total.get(connections) == (None if count is None else 7)
    assert seen == [3, 5, 7, 7, 9, 10]


def test_statuses_without_end_are_counted_together() -> None:
    metrics = EdgeMetrics()
    for status in range(100, 1000):
        metrics.request("plain", status, 0.1)
        metrics.request("plain", status, 0.1)
    (requests,) = [each for each in metrics.collect() if each.name == "rerank_proxy_requests"]
    values = {each.labels["code"]: each.value for each in requests.samples if each.name.endswith("_total")}
    assert len(values) == MOST_STATUSES + 1
    assert (values["100"], values["other"]) == (2, 2 * (900 - MOST_STATUSES))
