"""The tables of a report: which columns there are."""

from collections.abc import Sequence
from dataclasses import dataclass

from rerank_proxy.relevance.evaluation.results import Result
from rerank_proxy.relevance.evaluation.running import Evaluation
from rerank_proxy.relevance.numbers import MINUS, NONE, interval, number, p_of, signed
from rerank_proxy.relevance.statistics import Comparison


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table of systems.

    Attributes:
        name: Its head.
        short: Its head where there is little room.
    """

    name: str
    short: str
    is_text: bool = False


def columns_of(evaluation: Evaluation) -> list[Column]:
    """Return the columns of the table of systems."""
    results = evaluation.results
    columns = [Column("System", "system", is_text=True)]
    columns += [Column(title(name), title(name)) for name in results.measures]
    if results.others:
        columns += [
            Column(f"Difference of {title(results.first)}", "difference"),
            Column("95 % interval", "95 % interval"),
            Column("p, corrected", "p"),
            Column("Better / worse / equal", f"+/{MINUS}/="),
        ]
    columns += [Column("Median ms", "ms p50"), Column("95 % within, ms", "ms p95")]
    columns.append(Column("Scores, median ms", "scores ms"))
    if any(each.asked.failures for each in results.all):
        columns.append(Column("Failed", "failed"))
    return columns


def rows_of(evaluation: Evaluation) -> list[list[str]]:
    """Return a row for each system, in the order in which they were named."""
    results = evaluation.results
    width = len(columns_of(evaluation))
    rows = []
    for each in results.all:
        row = [each.system.name, *(number(each.means.get(name)) for name in results.measures)]
        if results.others:
            row += _compared(each.comparisons.get(results.first))
        row += _times(each)
        if len(row) < width:
            row.append(str(len(each.asked.failures)))
        rows.append(row)
    return rows


def title(measure: str) -> str:
    """Return the name of a measure by which it is known: the mean of RR is MRR."""
    return f"M{measure}" if measure.startswith("RR") else measure


def milliseconds(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _compared(comparison: Comparison | None) -> Sequence[str]:
    if comparison is None or not comparison.queries:
        return (NONE, NONE, NONE, NONE)
    return (
        signed(comparison.difference),
        interval(comparison.low, comparison.high),
        p_of(comparison.adjusted),
        f"{comparison.wins} / {comparison.losses} / {comparison.ties}",
    )


def _times(result: Result) -> Sequence[str]:
    latency = result.latency
    if latency is None:
        return (NONE, NONE, NONE)
    scores = NONE if latency.scores is None else milliseconds(latency.scores.p50)
    return (milliseconds(latency.client.p50), milliseconds(latency.client.p95), scores)
