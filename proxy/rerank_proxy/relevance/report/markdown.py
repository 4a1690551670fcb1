"""The report as Markdown, for issues, wikis and mails: the tables and the words, without plots."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rerank_proxy.observe.log_lines import flattened
from rerank_proxy.relevance.evaluation.running import Evaluation
from rerank_proxy.relevance.report.changed import changed_by
from rerank_proxy.relevance.report.page import explained, facts_of
from rerank_proxy.relevance.report.tables import columns_of, rows_of
from rerank_proxy.relevance.report.words import findings_of, headline_of, notes_of


def markdown_of(evaluation: Evaluation, document: Mapping[str, Any]) -> str:
    """Return the report.

    Args:
        document: The report as plain values.
    """
    return "\n".join([*_head(evaluation), *_changes(evaluation), *_how(evaluation, document), ""])


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[bool]) -> Iterator[str]:
    """Yield the lines of a table."""
    yield _row(heads)
    yield _row(["---:" if each else "---" for each in right])
    for row in rows:
        yield _row([_cell(each) for each in row])


def _head(evaluation: Evaluation) -> Iterator[str]:
    columns = columns_of(evaluation)
    yield f"# Does reranking help? {_cell(evaluation.plan.index)}"
    yield ""
    yield _cell(headline_of(evaluation))
    yield ""
    heads = [column.name for column in columns]
    yield from table(heads, rows_of(evaluation), right=[not column.is_text for column in columns])
    for name, lines in (
        ("What the figures say", findings_of(evaluation)),
        ("What to keep in mind", notes_of(evaluation)),
    ):
        if lines:
            yield from ("", f"## {name}", "")
            yield from (f"- {_cell(line)}" for line in lines)


def _changes(evaluation: Evaluation) -> Iterator[str]:
    for part in changed_by(evaluation):
        yield from ("", f"## Queries that changed most: {_cell(part.name)}", "")
        rows = [
            (each.text, each.before, each.after, each.difference)
            for half in part.halves
            for each in half.queries
        ]
        heads = ("Query", _cell(evaluation.results.baseline.system.name), _cell(part.name), "Difference")
        yield from table(heads, rows, right=(False, True, True, True))


def _how(evaluation: Evaluation, document: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", "## How it was measured", "")
    yield from (f"- {name}: {_cell(value)}" for name, value in facts_of(document))
    yield from (f"- {name}: {value}" for name, value in explained(evaluation.results.measures))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    """Return text that Markdown shows as it is, in one line."""
    return "".join(f"\\{each}" if each in r"\`*_[]<>|#" else each for each in flattened(text))
