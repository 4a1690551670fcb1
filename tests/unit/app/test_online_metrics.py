"""Metrics of clicks: whatever comes, their labels stay few, and documented."""

from typing import get_args

from prometheus_client import CollectorRegistry

from rerank_proxy.app.endpoint_labels import MOST, OTHER
from rerank_proxy.app.online_metrics import OnlineMetrics
from rerank_proxy.observe.families import families
from rerank_proxy.online.draws import Mode
from rerank_proxy.online.memory import Clicked, ClickMemory, ClickOutcome, Compared, Decision, Shown
from rerank_proxy.search.trials import ShadowOutcome
from tests.support.metrics import differences, documented
from tests.support.pages import read
from tests.support.project import ROOT

PAGE = [Shown("films", "a", 2, 1, "own"), Shown("films", "b", 1, 2, "other")]


class Told:
    """Metrics of a memory, as they are scraped."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = OnlineMetrics(self.registry)
        self.memory = ClickMemory(self.metrics, max_searches=10_000, max_bytes=10**8, keep_s=60.0)
        self.metrics.watch(self.memory)

    def click(self, compared: Compared) -> None:
        id_ = self.memory.remember(compared, PAGE)
        assert id_ is not None
        self.memory.click(id_, [Clicked("a")])

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"rerank_proxy_online_{name}", labels)

    def series(self) -> int:
        return sum(len(family.samples) for family in families(self.registry))


def test_mrr_is_a_sum_divided_by_a_number() -> None:
    told = Told()
    for _ in range(3):
        told.click(Compared("reranked", "e", "m"))
    labels = {"mode": "reranked", "endpoint": "e", "model": "m"}
    assert told.value("clicked_searches_total", **labels) == 3
    assert told.value("reciprocal_ranks_total", order="before", **labels) == 1.5
    assert told.value("reciprocal_ranks_total", order="after", **labels) == 3
    assert told.value("remembered_searches") == 3
    assert told.value("remembered_bytes") == told.memory.size_bytes


def test_all_decisions_are_there_once_there_is_one() -> None:
    """So that losses can be subtracted from wins before there are any."""
    told = Told()
    told.click(Compared("interleaved", "e", "m", "other-endpoint"))
    told.memory.clear()
    labels = {"endpoint": "e", "model": "m", "against": "other-endpoint"}
    found = {each: told.value("interleavings_total", outcome=each, **labels) for each in get_args(Decision)}
    assert found == {"win": 1, "tie": 0, "loss": 0}


def test_the_status_page_is_told_what_clicks_have_come_to() -> None:
    told = Told()
    assert told.metrics.shown() == {"mrr": [], "interleaved": []}
    for _ in range(3):
        told.click(Compared("interleaved", "e", "m"))
    told.click(Compared("reranked", "e", "m"))
    told.metrics.decided(Compared("interleaved", "e", "m"), "loss")
    told.memory.clear()
    shown = told.metrics.shown()
    own = {"endpoint": "e", "model": "m", "before": 0.5, "after": 1.0}
    assert shown["mrr"] == [
        {"mode": "interleaved", "searches": 3, **own}, {"mode": "reranked", "searches": 1, **own}
    ]  # fmt: skip
    (row,) = shown["interleaved"]
    assert (row["against"], row["win"], row["tie"], row["loss"]) == ("first_stage", 3, 0, 1)
    assert row["preferred"]["share"] == 0.75
    assert row["preferred"]["low"] < 0.5 < row["preferred"]["high"]


def test_endpoints_cannot_make_labels_without_end() -> None:
    told = Told()
    for number in range(MOST):
        told.click(Compared("interleaved", f"e{number}", "m"))
    told.memory.clear()
    before = told.series()
    for number in range(MOST, 3 * MOST):
        told.click(Compared("interleaved", f"e{number}", "m", f"e{number + 1}"))
    told.memory.clear()
    assert told.series() == before + 1 + 2 + 3, "those of one further endpoint"
    labels = {"endpoint": OTHER, "model": OTHER}
    assert told.value("clicked_searches_total", mode="interleaved", **labels) == 2 * MOST
    assert told.value("interleavings_total", outcome="win", against=OTHER, **labels) == 2 * MOST


def test_an_endpoint_that_is_deleted_leaves_no_series() -> None:
    told = Told()
    nothing = told.series()
    told.click(Compared("interleaved", "e", "m"))
    told.click(Compared("reranked", "e", "n"))
    told.memory.forget_endpoint("e")
    told.metrics.endpoint_gone("e")
    assert told.series() == nothing + 1, "but the number of clicks"


def test_all_that_can_be_told_is_documented() -> None:
    told = Told()
    for mode in get_args(Mode):
        told.metrics.search(mode)
        told.click(Compared(mode, "e", "m"))
    for outcome in get_args(ShadowOutcome):
        told.metrics.shadow(outcome)
    outcomes = {each for part in get_args(ClickOutcome) for each in get_args(part) or (part,)}
    for outcome in outcomes:
        told.metrics.clicks(outcome, 1)
    told.memory.clear()
    rows = documented(read(ROOT / "docs" / "metrics.md"))
    own = {name: row for name, row in rows.items() if name.startswith("rerank_proxy_online_")}
    assert differences(own, families(told.registry), {}) == []
    samples = [sample for family in families(told.registry) for sample in family.samples]
    for name, row in own.items():
        for label, known in row.values.items():
            found = {sample.labels[label] for sample in samples if sample.name == name}
            assert known is None or found == known, "and nothing else is"
