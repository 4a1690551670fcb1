"""The slow log: which searches have a line, and what it says."""

import json
from typing import Any

import pytest

from rerank_proxy.app.apis.context import EndedSearch, MultiAnswer
from rerank_proxy.app.metrics import NotCounted
from rerank_proxy.app.slow_log import MAX_SOURCE, SlowLog
from rerank_proxy.observe import stages
from rerank_proxy.observe.log_json import EcsFormatter
from rerank_proxy.observe.outcome import Applied, Evaluated, Outcome, Several, Skipped, Tree
from rerank_proxy.search.run import SearchAnswer
from rerank_proxy.search.timings import Timings
from rerank_proxy.settings import LogSettings

APPLIED = Applied("my-endpoint", "minilm", 90, 80, 7, 3, 250.0, "secret_field", rank_window_size=100)
QUERY = b'{"query":"what people search for"}'


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(EcsFormatter("app").format(record)) for record in caplog.records]


def took(seconds: float) -> Timings:
    """The timings of a search that took so long."""
    now = stages.clock()
    clock = iter([now - seconds, now, now])
    timings = Timings(lambda: next(clock))
    timings.end()
    return timings


def end(seconds: float, outcome: Outcome = APPLIED, path: str = "/films/_search", **settings: Any) -> None:
    slow = SlowLog(LogSettings(**settings), NotCounted())
    slow.begin(path, QUERY)
    slow.answered(SearchAnswer(b"{}", (), outcome, took(seconds)))


@pytest.fixture(autouse=True)
def at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")


@pytest.mark.parametrize(
    ("seconds", "level"), [(0.9, None), (1.0, "info"), (4.9, "info"), (5.0, "warning"), (60.0, "warning")]
)
def test_the_thresholds(seconds: float, level: str | None, caplog: pytest.LogCaptureFixture) -> None:
    end(seconds, slow_info_s=1, slow_warn_s=5)
    assert [line["log"]["level"] for line in lines(caplog)] == ([] if level is None else [level])


def test_without_thresholds_nothing_is_slow(caplog: pytest.LogCaptureFixture) -> None:
    end(1e6)
    assert lines(caplog) == []


def test_it_says_where_the_time_went_and_not_what_was_searched_for(caplog: pytest.LogCaptureFixture) -> None:
    end(2.5, slow_warn_s=1)
    (line,) = lines(caplog)
    assert (line["event"]["dataset"], line["event"]["duration"]) == ("rerank_proxy.slow", 2_500_000_000)
    assert line["url"]["path"] == "/films/_search"
    own = line["rerank_proxy"]
    assert set(own["times"]) >= {"upstream", "score", "own"}
    assert own["rerankers"] == [
        {
            "outcome": "applied",
            "endpoint": "my-endpoint",
            "model": "minilm",
            "window": 90,
            "scored": 80,
            "cached": 7,
            "truncated": 3,
            "ms": 250.0,
            "rank_window_size": 100,
        }
    ]
    assert "what people search for" not in json.dumps(line)
    assert line["message"].startswith("a search took 2.500 s (")
    assert "[applied] endpoint=my-endpoint model=minilm window=90" in line["message"]


def test_the_source_is_shown_where_it_is_asked_for_and_bounded(caplog: pytest.LogCaptureFixture) -> None:
    end(2, slow_warn_s=1, slow_source=True)
    assert lines(caplog)[0]["rerank_proxy"]["source"] == QUERY.decode()
    slow = SlowLog(LogSettings(slow_warn_s=1, slow_source=True), NotCounted())
    slow.begin("/" + "x" * 9999, b"y" * 99_999)
    slow.answered(SearchAnswer(b"{}", (), APPLIED, took(9)))
    line = lines(caplog)[1]
    assert len(line["rerank_proxy"]["source"]) <= MAX_SOURCE + 1
    assert len(line["url"]["path"]) < 300


def test_each_search_of_a_request_counts_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    outcomes: list[Outcome] = [
        Skipped("e", "status_exception"),
        Tree((APPLIED, Skipped("e", "x"))),
        Evaluated(("rrf",)),
    ]
    searches = [EndedSearch(200, each, took(seconds)) for seconds, each in enumerate(outcomes, 1)]
    failed = EndedSearch(429)
    slow = SlowLog(LogSettings(slow_info_s=2), NotCounted())
    slow.answered(MultiAnswer(b"{}", (), Several({}), [*searches, failed]))
    shown = [line["rerank_proxy"].get("rerankers") for line in lines(caplog)]
    assert [[each["outcome"] for each in rerankers or ()] for rerankers in shown] == [
        ["applied", "skipped"],
        [],
    ]
