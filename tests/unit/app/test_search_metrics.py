"""What is counted of searches: by endpoint as long as these are few, by reason, and with their traces."""

import pytest
from prometheus_client import CollectorRegistry

from rerank_proxy.app.apis.context import EndedSearch, MultiAnswer
from rerank_proxy.app.endpoint_labels import MOST, OTHER
from rerank_proxy.app.metrics import SearchMetrics
from rerank_proxy.observe import stages
from rerank_proxy.observe.outcome import NOT_LOOKED_UP, Applied, Outcome, Several, Skipped, of_tree
from rerank_proxy.observe.stages import STAGES, Activity
from rerank_proxy.search.timings import Timings


def applied(endpoint: str = "e", model: str = "m", scored: int = 8) -> Applied:
    return Applied(endpoint, model, 10, scored, 3, 1, 250.0, "text")


class Counted:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = SearchMetrics(self.registry)

    def count(self, *rerankers: Applied | Skipped, timings: Timings | None = None) -> None:
        self.ended(of_tree([], rerankers), timings or Timings())

    def ended(self, outcome: Outcome | None, timings: Timings, status: int = 200) -> None:
        search = EndedSearch(status, outcome, timings)
        self.metrics.answered(MultiAnswer(b"", (), Several({}), [search]))

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"rerank_proxy_{name}", labels)

    def series(self, name: str) -> set[tuple[str, ...]]:
        families = [each for each in self.registry.collect() if each.name == f"rerank_proxy_{name}"]
        return {
            tuple(sample.labels[label] for label in ("endpoint", "model"))
            for family in families
            for sample in family.samples
        }


def test_by_endpoint_and_model() -> None:
    counted = Counted()
    counted.count(applied(), applied("f", scored=0), Skipped("e", "x", model="m"))
    assert counted.value("rerankers_total", outcome="applied", endpoint="e", model="m") == 1
    assert counted.value("rerankers_total", outcome="no_text", endpoint="f", model="m") == 1
    assert counted.value("rerankers_total", outcome="skipped", endpoint="e", model="m") == 1
    assert counted.value("reranker_seconds_sum", endpoint="e", model="m") == 0.25
    assert counted.value("reranker_seconds_count", endpoint="f", model="m") is None, "nothing was scored"


def test_what_was_not_looked_up_has_no_name() -> None:
    """A client may name anything."""
    counted = Counted()
    counted.count(Skipped("anything", "x"), applied("else", NOT_LOOKED_UP, scored=0))
    assert counted.series("rerankers") == {(NOT_LOOKED_UP, NOT_LOOKED_UP)}


def test_they_stay_few() -> None:
    counted = Counted()
    for number in range(MOST + 50):
        counted.count(applied(f"e{number}"))
    assert len(counted.series("rerankers")) == MOST + 1
    assert counted.value("rerankers_total", outcome="applied", endpoint=OTHER, model=OTHER) == 50
    counted.metrics.rerankers.endpoint_gone("e7")
    counted.metrics.rerankers.endpoint_gone("never there")
    for name in ("rerankers", "reranker_seconds"):
        assert ("e7", "m") not in counted.series(name)
    counted.count(applied("new"))
    assert ("new", "m") in counted.series("rerankers")


def test_failures_that_were_allowed() -> None:
    """A search counts once for each reason."""
    counted = Counted()
    counted.count(
        Skipped("e", "x", why="deadline"), Skipped("f", "x", why="deadline"), Skipped("g", "x", why="denied")
    )
    assert counted.value("searches_failed_open_total", reason="deadline") == 1
    assert counted.value("searches_failed_open_total", reason="denied") == 1


@pytest.mark.parametrize("status", [200, 504])
def test_limits_of_time(status: int) -> None:
    counted, timings = Counted(), Timings()
    timings.miss("search.timeout_s")
    timings.miss("search.timeout_s")
    counted.ended(applied() if status == 200 else None, timings, status)
    assert counted.value("searches_deadline_total", limit="search.timeout_s") == 1


def test_limits_of_time_of_a_request_that_fails() -> None:
    counted, timings = Counted(), Timings()
    stages.enter(Activity(timings))
    stages.miss("search.deadline_s")
    counted.metrics.refused(504)
    stages.enter(Activity())
    assert counted.value("searches_deadline_total", limit="search.deadline_s") == 1


@pytest.mark.parametrize("trace", [None, "0af7651916cd43dd8448eb211c80319c"])
def test_samples_lead_to_the_trace(trace: str | None) -> None:
    counted = Counted()
    stages.enter(Activity(trace_id=trace))
    counted.count(applied())
    stages.enter(Activity())
    samples = [sample for family in counted.registry.collect() for sample in family.samples]
    traces = {sample.exemplar.labels["trace_id"] for sample in samples if sample.exemplar is not None}
    assert traces == ({trace} if trace else set())


def test_each_stage_has_a_sample() -> None:
    times = iter((100.0, 103.0))
    counted, timings = Counted(), Timings(lambda: next(times))
    timings.add("score", 100.0, 102.0)
    timings.end()
    counted.count(applied(), timings=timings)
    for stage in (*STAGES, "own"):
        assert counted.value("search_stage_seconds_count", stage=stage) == 1
    assert counted.value("search_stage_seconds_sum", stage="score") == pytest.approx(2)
