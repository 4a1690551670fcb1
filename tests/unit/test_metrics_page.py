"""docs/metrics.md lists the metrics of a running proxy, in all of its processes, with types and labels."""

from collections.abc import Iterator
from itertools import chain
from typing import get_args

import pytest
from prometheus_client.core import Metric

from rerank_proxy.observe.edge_metrics import EdgeMetrics
from rerank_proxy.observe.families import families
from rerank_proxy.observe.nodes import NodeState
from rerank_proxy.tls.handshakes import Why
from testbed.proxy import RunningProxy
from tests.support.metrics import (
    Documented,
    declared_labels,
    differences,
    documented,
    read_openmetrics,
    read_text,
)
from tests.support.pages import read
from tests.support.project import ROOT
from tests.support.promql import run_promtool
from tests.support.searches import RERANKER

SEARCH = b'{"retriever":{"%b":{}}}' % RERANKER.encode()
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


@pytest.fixture(scope="module")
def rows() -> dict[str, Documented]:
    return documented(read(ROOT / "docs" / "metrics.md"))


@pytest.fixture(scope="module")
def answers() -> Iterator[tuple[str, str]]:
    """What a proxy of three processes answers, in both formats, after some requests."""
    with RunningProxy("http://127.0.0.1:9", options=["--edge-processes", "2"]) as proxy:
        proxy.wait_ready()
        json = {"Content-Type": "application/json", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
        statuses = [
            proxy.server.call("GET", "/_cluster/health").status,
            proxy.server.call("POST", "/films/_search", SEARCH, headers=json).status,
            proxy.server.call("GET", "/_inference/_nothing/x/y").status,
        ]
        assert statuses == [502, 400, 502]
        text, openmetrics = (
            proxy.admin.call("GET", "/metrics", headers=accept).body.decode() for accept in ({}, OPENMETRICS)
        )
        yield text, openmetrics


@pytest.fixture(scope="module")
def exposed(answers: tuple[str, str]) -> list[Metric]:
    return list(read_openmetrics(answers[1]))


def test_the_page_lists_what_a_proxy_tells(rows: dict[str, Documented], exposed: list[Metric]) -> None:
    assert differences(rows, exposed, declared_labels()) == []


def test_both_formats_tell_the_same(answers: tuple[str, str]) -> None:
    """Values apart, some of which have changed in between."""
    text, openmetrics = answers
    told = [
        {(sample.name, *sorted(sample.labels.items())) for family in read for sample in family.samples}
        for read in (read_text(text), read_openmetrics(openmetrics))
    ]
    assert told[0] == told[1]


def test_exemplars_lead_to_traces(exposed: list[Metric]) -> None:
    (seconds,) = (family for family in exposed if family.name == "rerank_proxy_request_seconds")
    exemplars = [
        (each.labels["kind"], each.exemplar.labels) for each in seconds.samples if each.exemplar is not None
    ]
    assert exemplars == [("rerank", {"trace_id": TRACE})]


def test_promtool_has_no_complaint(answers: tuple[str, str]) -> None:
    """About names, types, help texts and units."""
    assert run_promtool("check", "metrics", stdin=answers[0].encode()) == ""


def test_all_processes_tell_what_they_take(exposed: list[Metric]) -> None:
    (cpu,) = (family for family in exposed if family.name == "rerank_proxy_process_cpu_seconds")
    assert {sample.labels["process"] for sample in cpu.samples} == {"supervisor", "edge-1", "app"}


def test_labels_of_what_only_happens_at_times(rows: dict[str, Documented]) -> None:
    """The metrics of the edge with everything in them that may happen."""
    metrics = EdgeMetrics()
    metrics.request("rerank", 200, 0.1, "trace")
    for of in ("listener", "admin", "upstream_client"):
        metrics.certificates[of] = lambda: 1.0
    metrics.handshakes = {of: dict.fromkeys(get_args(Why), 1) for of in ("listener", "admin")}
    metrics.nodes = lambda: [NodeState("127.0.0.1:9200", up=False, requests=0, failures=1, times_left_out=1)]
    exposed = families(metrics)
    assert all(family.samples for family in exposed)
    own = {name: row for name, row in rows.items() if name in {*_names(exposed)}}
    assert differences(own, exposed, {}) == []


def _names(exposed: list[Metric]) -> Iterator[str]:
    return chain.from_iterable((family.name, f"{family.name}_total") for family in exposed)


def _row(page: str, metric: str) -> str:
    (line,) = (line for line in page.splitlines() if line.startswith(f"| `{metric}` |"))
    return line


@pytest.mark.parametrize(
    ("metric", "part", "instead", "told"),
    [
        ("rerank_proxy_app_up", "rerank_proxy_app_up", "rerank_proxy_app_down", "does not exist"),
        ("rerank_proxy_app_up", "rerank_proxy_app_up", "rerank_proxy_app_down", "is not documented"),
        ("rerank_proxy_app_up", "| gauge |", "| counter |", "is a gauge, not a counter"),
        ("rerank_proxy_requests_total", "; `code`: the status", "", "a label code that is not documented"),
        ("rerank_proxy_requests_total", "`plain`, `search`", "`search`", "kind=plain that is not documented"),
        ("rerank_proxy_upstream_connections", "`state`:", "`how`: `x`; `state`:", "has no label how"),
        ("rerank_proxy_searches_total", "`outcome`:", "`word`:", "has the labels ['outcome'], not ['word']"),
        ("rerank_proxy_build_info", "`python`; ", "", "a label python that is not documented"),
        ("rerank_proxy_engine_batches_total", "| `model` |", "| |", "has the labels ['model'], not []"),
    ],
)
def test_a_page_that_is_wrong_is_found_out(
    exposed: list[Metric], metric: str, part: str, instead: str, told: str
) -> None:
    page = read(ROOT / "docs" / "metrics.md")
    line = _row(page, metric)
    assert part in line
    wrong = documented(page.replace(line, line.replace(part, instead, 1)))
    assert told in " / ".join(differences(wrong, exposed, declared_labels()))


def test_a_row_that_is_missing_is_found_out(rows: dict[str, Documented], exposed: list[Metric]) -> None:
    for name in rows:
        fewer = {other: row for other, row in rows.items() if other != name}
        assert differences(fewer, exposed, declared_labels()) == [f"{name} is not documented"]
