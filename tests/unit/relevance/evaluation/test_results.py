"""What is computed of the answers: figures over the same queries, curves, and the cheapest window."""

import math
from dataclasses import replace

import pytest

from rerank_proxy.relevance.client.x_rerank import Reranking, rerankings
from rerank_proxy.relevance.evaluation.curves import curves_of
from rerank_proxy.relevance.report.words import findings_of, headline_of, notes_of
from tests.support.evaluations import evaluation


def test_means_are_of_the_queries_that_all_have_answered() -> None:
    results = evaluation().results
    for each in results.all:
        values = each.values["nDCG@10"]
        assert list(values) == list(results.queries)
        assert each.means["nDCG@10"] == pytest.approx(sum(values.values()) / len(values))
        assert each.interval[0] < each.means["nDCG@10"] < each.interval[1]


def test_the_cheapest_window_gives_nine_tenths_of_the_gain() -> None:
    results = evaluation(windows=(10, 40, 60, 70, 100), skill=6.0).results
    curves = curves_of(results)
    assert [curve.group for curve in curves] == ["small", "large"]
    base = results.baseline.means["nDCG@10"]
    for curve in curves:
        gains = {each.system.window: each.means["nDCG@10"] - base for each in curve.points}
        assert list(gains) == [10, 40, 60, 70, 100]
        assert curve.cheapest is not None
        enough = [window for window, gain in gains.items() if gain >= 0.9 * max(gains.values())]
        assert curve.cheapest.system.window == enough[0]


def test_no_window_is_the_cheapest_where_none_gains() -> None:
    made = evaluation(skill=-3.0)
    assert [curve.cheapest for curve in curves_of(made.results)] == [None, None]
    assert "no window is better than bm25" in " ".join(findings_of(made))


@pytest.mark.parametrize(
    ("skill", "said"),
    [
        (4.0, "is better than bm25: nDCG@10"),
        (0.0, "No system is shown to be better than bm25"),
        (-40.0, "Every system is worse than bm25, and that is more than chance."),
    ],
)
def test_the_headline_claims_what_is_significant_alone(skill: float, said: str) -> None:
    assert said in headline_of(evaluation(skill=skill, windows=(100,), queries=60))


def test_a_baseline_that_failed_leaves_nothing_to_compare() -> None:
    made = evaluation(failing="bm25")
    assert made.results.others == []
    assert "nothing can be compared" in headline_of(made)
    assert findings_of(made) == []
    assert "bm25 has answered fewer than 90 %" in " ".join(notes_of(made))


def test_hits_without_a_judgment_are_wrong_or_left_out() -> None:
    """Left out, all lists hold judged documents alone, and any of those is right here."""
    wrong, without = evaluation().results.baseline, evaluation(unjudged="leave-out").results.baseline
    assert wrong.judged == without.judged < 0.3
    assert wrong.means["RR@10"] < 0.5
    assert {*without.values["RR@10"].values()} <= {0.0, 1.0}
    assert "left out of the lists" in " ".join(notes_of(evaluation(unjudged="leave-out")))


def test_a_system_that_finds_nothing_at_all_is_asked_for_its_fields() -> None:
    """As after a misspelt field, which Elasticsearch finds nothing in."""
    made = evaluation(endpoints=())
    assert "found nothing" not in " ".join(notes_of(made))
    answers = made.results.baseline.asked.answers
    answers.update({name: replace(answer, hits=()) for name, answer in answers.items()})
    assert "bm25 found nothing for any query: does the index have the fields" in " ".join(notes_of(made))


def test_few_queries_are_said_to_be_few() -> None:
    assert any("6 queries are few" in note for note in notes_of(evaluation(queries=6)))
    assert not any("are few" in note for note in notes_of(evaluation(queries=60)))


def test_fewer_queries_than_any_test_can_tell_from_chance_give_no_interval() -> None:
    made = evaluation(queries=5)
    assert any("5 queries tell nothing from chance" in note for note in notes_of(made))
    assert not any("95 % interval" in finding for finding in findings_of(made))


def test_no_query_at_all_that_every_system_has_answered() -> None:
    made = evaluation(failing="bm25", endpoints=(), windows=(10,))
    assert math.isnan(made.results.baseline.interval[0])
    assert not made.results.baseline.has_figures


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, []),
        ("", []),
        (
            "applied; endpoint=e; model=m; window=50; scored=49; cached=12; truncated=3; ms=41.3",
            [Reranking("applied", "e", "m", 50, 49, 12, 3, 41.3)],
        ),
        ("skipped; endpoint=e; reason=timeout", [Reranking("skipped", "e", reason="timeout")]),
        ("evaluated; retrievers=rrf", [Reranking("evaluated")]),
        (
            "applied; endpoint=a; model=m, skipped; endpoint=b; reason=r, omitted; rerankers=3",
            [Reranking("applied", "a", "m"), Reranking("skipped", "b", reason="r")],
        ),
        ("applied; window=many; ms=soon; =", [Reranking("applied")]),
    ],
)
def test_what_the_header_says(header: str | None, expected: list[Reranking]) -> None:
    assert rerankings(header) == expected
