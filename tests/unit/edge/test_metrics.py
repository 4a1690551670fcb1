from rerank_proxy.observe.edge_metrics import EdgeMetrics
from rerank_proxy.observe.families import families


def samples(metrics: EdgeMetrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families(metrics)
        for sample in family.samples
    }


def test_counts() -> None:
    metrics = EdgeMetrics()
    for _ in range(3):
        metrics.request("plain", 200, 0.002)
    metrics.request("rerank", 503, 0.3)
    metrics.retries = 2
    metrics.client_connections = lambda: 7
    read = samples(metrics)
    assert read["rerank_proxy_requests_total", (("code", "200"), ("kind", "plain"))] == 3
    assert read["rerank_proxy_requests_total", (("code", "503"), ("kind", "rerank"))] == 1
    assert read["rerank_proxy_upstream_retries_total", ()] == 2
    assert read["rerank_proxy_client_connections", ()] == 7
    assert read["rerank_proxy_upstream_connections", (("state", "idle"),)] == 0


def test_buckets_add_up() -> None:
    metrics = EdgeMetrics()
    for seconds in (0.0005, 0.001, 0.2, 3600.0):
        metrics.first_byte(seconds)
    read = samples(metrics)
    name = "rerank_proxy_upstream_first_byte_seconds"
    buckets = {
        bound: value
        for (key, labels), value in read.items()
        if key == f"{name}_bucket"
        for _, bound in labels
    }
    assert (buckets["0.001"], buckets["0.1"], buckets["0.25"], buckets["60.0"]) == (2, 2, 3, 3)
    assert buckets["+Inf"] == read[f"{name}_count", ()] == 4
    assert read[f"{name}_sum", ()] == 0.0005 + 0.001 + 0.2 + 3600.0


def test_two_edges_do_not_share_numbers() -> None:
    first, second = EdgeMetrics(), EdgeMetrics()
    first.request("plain", 200, 0.002)
    assert not [key for key in samples(second) if key[0] == "rerank_proxy_requests_total"]
