"""The metrics of several processes as one."""

from collections.abc import Sequence
from functools import partial

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from rerank_proxy.observe.adding import Lasting, added
from rerank_proxy.observe.edge_metrics import LOWEST_COUNTS, EdgeMetrics, RequestKind
from tests.support.examples import examples

KINDS: list[RequestKind] = ["plain", "search", "rerank"]
REQUESTS = st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from([200, 404])))
TIMES = st.lists(st.sampled_from([0.0005, 0.25, 0.5, 8.0, 64.0]))

Edge = tuple[Sequence[tuple[RequestKind, int]], Sequence[float], int]


def edge_metrics(edges: Sequence[Edge]) -> bytes:
    """Return the metrics of one edge that has seen all that several have."""
    metrics = EdgeMetrics()
    for requests, times, _ in edges:
        for kind, status in requests:
            metrics.request(kind, status, 0.01)
        for seconds in times:
            metrics.first_byte(seconds)
    metrics.client_connections = lambda: sum(connections for _, _, connections in edges)
    return metrics.render()


def samples(text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): round(sample.value, 6)
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


@examples(0.5)
@given(st.lists(st.tuples(REQUESTS, TIMES, st.integers(0, 9)), min_size=1, max_size=4))
def test_several_edges_count_as_one(edges: list[Edge]) -> None:
    assert samples(added([edge_metrics([edge]) for edge in edges])) == samples(edge_metrics(edges))


def test_help_and_types_stay() -> None:
    text = EdgeMetrics().render()
    heads = [line for line in text.splitlines() if line.startswith(b"#")]
    assert [line for line in added([text, text]).splitlines() if line.startswith(b"#")] == heads


def test_gauges_without_a_meaningful_sum() -> None:
    texts = []
    for end in (300, 200, 400):
        metrics = EdgeMetrics()
        metrics.certificates["listener"] = partial(float, end)
        texts.append(metrics.render())
    key = ("rerank_proxy_certificate_not_after_seconds", frozenset({("of", "listener")}))
    assert samples(added(texts, LOWEST_COUNTS))[key] == 200


def test_process_that_does_not_answer() -> None:
    text = edge_metrics([([("plain", 200)], [0.5], 3)])
    assert samples(added([text, b""])) == samples(text)


def counters(text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        key: value for key, value in samples(text).items() if key[0].endswith(("_total", "_bucket", "_count"))
    }


@examples(0.2)
@given(
    st.lists(
        st.tuples(st.lists(st.tuples(REQUESTS, TIMES), min_size=1, max_size=2), st.booleans()), max_size=4
    )
)
def test_what_has_been_counted_stays_when_a_process_is_started_again(
    processes: list[tuple[list[tuple[Sequence[tuple[RequestKind, int]], Sequence[float]]], bool]],
) -> None:
    """One after the other, of which some do not answer for a while before they end."""
    lasting = Lasting()
    before: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for steps, falls_silent in processes:
        seen: list[Edge] = []
        for requests, times in steps:
            seen.append((requests, times, 3))
            after = counters(added(lasting.with_earlier(edge_metrics(seen))))
            assert all(after[key] >= value for key, value in before.items())
            before = after
        if falls_silent:
            assert counters(added(lasting.with_earlier(b""))) == before


def test_sums_over_restarts() -> None:
    lasting = Lasting()
    key = ("rerank_proxy_requests_total", frozenset({("kind", "plain"), ("code", "200")}))
    connections = ("rerank_proxy_client_connections", frozenset[tuple[str, str]]())
    seen = []
    for count in (3, 5, 2, None, 4, 1):
        text = b"" if count is None else edge_metrics([([("plain", 200)] * count, [], 7)])
        total = samples(added(lasting.with_earlier(text)))
        seen.append(total[key])
        assert total.get(connections) == (None if count is None else 7)
    assert seen == [3, 5, 7, 7, 9, 10]
