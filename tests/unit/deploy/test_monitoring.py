"""The dashboard, the alerts and their runbooks: valid, complete, and about metrics that exist."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from deploy.monitoring.dashboard import dashboard
from tests.support.metrics import documented
from tests.support.pages import read
from tests.support.project import ROOT
from tests.support.promql import check_expressions, faults, labels_of, run_promtool, with_values

MONITORING: Final = ROOT / "deploy" / "monitoring"
ALERTS: Final = MONITORING / "alerts.yaml"
RUNBOOKS: Final = ROOT / "docs" / "runbooks.md"
SHOWN: Final = json.loads(read(MONITORING / "dashboard.json"))
METRICS: Final = documented(read(ROOT / "docs" / "metrics.md"))
PARTS: Final = ("What it means", "What to look at", "What to do")
"""Of each runbook."""


@cache
def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(read(ALERTS))["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


@cache
def recorded() -> dict[str, set[str]]:
    return {rule["record"]: labels_of(rule["expr"], METRICS) for rule in rules() if "record" in rule}


def panels() -> list[dict[str, Any]]:
    return [panel for panel in SHOWN["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    return ((panel, query) for panel in panels() for query in panel["targets"])


def test_the_dashboard_is_what_its_source_makes() -> None:
    assert dashboard() == SHOWN, "run `make docs`"


def test_ids_are_unique_and_nothing_overlaps() -> None:
    ids = [panel["id"] for panel in SHOWN["panels"]]
    assert len(ids) == len({*ids})
    taken = set()
    for panel in SHOWN["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, panel["title"]
                taken.add((x, y))


def test_panels_say_what_they_show() -> None:
    titles = [panel["title"] for panel in panels()]
    assert len(titles) == len({*titles}) > 40
    for panel in panels():
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        assert [query["refId"] for query in panel["targets"]] == list("ABCDEF")[: len(panel["targets"])]


def test_variables_choose_source_job_and_instances() -> None:
    variables = SHOWN["templating"]["list"]
    assert [variable["name"] for variable in variables] == ["datasource", "job", "instance"]
    for panel, query in queries():
        selectors = re.findall(r"rerank_proxy_\w+(\{[^}]*\})?", query["expr"])
        assert all('job=~"$job",instance=~"$instance"' in each for each in selectors), panel["title"]
    for variable in variables[1:]:
        assert list(faults(variable["definition"], METRICS, {})) == []


def test_the_dashboard_names_what_exists() -> None:
    for panel, query in queries():
        told = [*faults(query["expr"], METRICS, recorded())]
        shown = set(re.findall(r"\{\{(\w+)\}\}", query["legendFormat"]))
        told += [f"{label} is no label of it" for label in shown - labels_of(query["expr"], METRICS)]
        assert told == [], f"{panel['title']}: {query['expr']}"


def test_every_metric_is_on_the_dashboard() -> None:
    """But for those that only say what others say, too."""
    text = " ".join(query["expr"] for _, query in queries())
    missing = [name for name in METRICS if not re.search(rf"\b{name}(?:_bucket|_sum|_count)?\b", text)]
    assert missing == UNSEEN


UNSEEN: Final = [
    "rerank_proxy_engine_batches_total",
    "rerank_proxy_engine_shared_cache_used",
    "rerank_proxy_engine_shared_cache_written_total",
    "rerank_proxy_app_up",
    "rerank_proxy_edge_processes",
    "rerank_proxy_process_virtual_memory_bytes",
]


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("rate(rerank_proxy_searchs_total[5m])", "rerank_proxy_searchs_total does not exist"),
        ('rerank_proxy_searches_total{word="applied"}', "rerank_proxy_searches_total has no label word"),
        ('rerank_proxy_requests_total{kind=~"pl.*|x"}', "rerank_proxy_requests_total has no kind=x"),
        ("sum by (model) (rerank_proxy_app_up)", "the label model is of none of the metrics"),
        ("rerank_proxy_request_seconds", "rerank_proxy_request_seconds does not exist"),
        ("rerank_proxy_app_up_bucket", "rerank_proxy_app_up_bucket does not exist"),
    ],
)  # fmt: skip
def test_what_does_not_exist_is_found_out(expression: str, told: str) -> None:
    assert list(faults(expression, METRICS, {})) == [told]


def test_alerts_name_what_exists() -> None:
    for rule in rules():
        assert list(faults(rule["expr"], METRICS, recorded())) == [], rule


def test_alerts_say_what_is_wrong_and_where_to_read_on() -> None:
    names = [alert["alert"] for alert in alerts()]
    assert len(names) == len({*names}) >= 20
    for alert in alerts():
        assert alert["labels"]["severity"] in ("critical", "warning"), alert["alert"]
        told = alert["annotations"]
        assert {*told} == {"summary", "description", "runbook_url"}, alert["alert"]
        assert told["runbook_url"].endswith(f"/docs/runbooks.md#{alert['alert'].lower()}"), alert["alert"]
        assert told["description"].endswith("."), alert["alert"]
        labels = set(re.findall(r"\$labels\.(\w+)", f"{told}"))
        left = labels_of(alert["expr"], METRICS) | {label for each in recorded().values() for label in each}
        assert labels <= left, alert["alert"]


def runbooks() -> dict[str, str]:
    """The text of each runbook by the name of its alert."""
    sections = re.split(r"^## ", read(RUNBOOKS), flags=re.MULTILINE)[1:]
    return {title: text for title, _, text in (section.partition("\n") for section in sections)}


def test_every_alert_has_a_runbook_and_the_reverse() -> None:
    assert list(runbooks()) == [alert["alert"] for alert in alerts()]


@pytest.mark.parametrize("alert", runbooks())
def test_runbooks_say_what_it_means_what_to_look_at_and_what_to_do(alert: str) -> None:
    text = runbooks()[alert]
    assert [part for part in re.findall(r"^\*\*(.+)\*\*", text, re.MULTILINE) if part in PARTS] == list(PARTS)
    for name in re.findall(r"rerank_proxy_\w+", text):
        assert list(faults(name, METRICS, recorded())) == [] or METRICS[name].type == "histogram", name


def rule_tests() -> list[dict[str, Any]]:
    files = sorted((MONITORING / "tests").glob("*.yaml"))
    return [test for file in files for test in yaml.safe_load(read(file))["tests"]]


def test_every_alert_fires_in_a_test_and_does_not_in_another() -> None:
    seen = {
        (each["alertname"], bool(each["exp_alerts"]))
        for test in rule_tests()
        for each in test["alert_rule_test"]
    }
    assert seen == {(alert["alert"], fires) for alert in alerts() for fires in (True, False)}


def test_promtool_takes_rules_and_configuration() -> None:
    assert f"{len(rules())} rules found" in run_promtool("check", "rules", ALERTS)
    run_promtool("check", "config", MONITORING / "prometheus.yml")


def test_promtool_parses_what_the_dashboard_asks(tmp_path: Path) -> None:
    check_expressions([with_values(query["expr"]) for _, query in queries()], tmp_path)
    with pytest.raises(AssertionError, match="parse error"):
        check_expressions(["sum by (x (y)"], tmp_path)


def test_alerts_fire_when_they_should() -> None:
    assert "SUCCESS" in run_promtool("test", "rules", *sorted((MONITORING / "tests").glob("*.yaml")))


def test_grafana_finds_source_and_dashboard() -> None:
    provisioning = MONITORING / "grafana" / "provisioning"
    (source,) = yaml.safe_load(read(provisioning / "datasources" / "prometheus.yaml"))["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    (provider,) = yaml.safe_load(read(provisioning / "dashboards" / "rerank-proxy.yaml"))["providers"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
