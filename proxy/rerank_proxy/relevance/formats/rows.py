"""What one line of a file says: of a query its id or text, and grades, or one of these."""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from rerank_proxy.relevance.formats.lines import Line

QUERY_IDS: Final = ("query_id", "queryid", "qid", "topic_id", "_id", "id")
TEXTS: Final = ("query", "query_text", "text")
DOCUMENTS: Final = (
    "corpus_id",
    "document_id",
    "document",
    "doc_id",
    "docid",
    "docno",
    "passage_id",
    "pid",
    "product_id",
)
GRADES: Final = (
    "score",
    "rating",
    "grade",
    "relevance",
    "rel",
    "label",
    "judgment",
    "judgement",
    "esci_label",
)
"""Names that programs give to columns of tables and members of objects, as `plain` writes them."""
_OTHERS: Final = re.compile(r"[\W_]+")


class Row(NamedTuple):
    """What a line says.

    Attributes:
        id: Of the query; None where queries are told apart by their texts alone.
        text: Of the query; None where the file does not have it.
        grades: By the ids of documents; None where the file has queries alone.
    """

    line: Line
    id: str | None
    text: str | None
    grades: Mapping[str, int] | None


def plain(name: str) -> str:
    """Return a name in one spelling: `Query ID`, `query-id` and `query_id` are the same."""
    stripped = name.strip().lower()
    return _OTHERS.sub("_", stripped) if stripped != "_id" else stripped


def first_of(names: tuple[str, ...], there: Mapping[str, Any]) -> str | None:
    """Return the first of some names that is there."""
    return next((name for name in names if name in there), None)


def row_of(line: Line, values: Mapping[str, Any]) -> Row:
    """Make a row of what a line holds by name, names being `plain`.

    Raises:
        FormatError: A value is not what it should be, or one is missing.
    """
    by, text, document = (first_of(names, values) for names in (QUERY_IDS, TEXTS, DOCUMENTS))
    grade = first_of(GRADES, values)
    grades: Mapping[str, int] | None = None
    if isinstance(values.get("grades"), Mapping):
        grades = graded(line, values["grades"])
    elif "grades" in values:
        raise line.fault('"grades" must be an object, {"id of a document": grade, …}')
    elif document is not None and grade is not None:
        grades = {} if values[grade] == "" else graded(line, {values[document]: values[grade]})
    if by is None and text is None:
        raise line.fault('has neither a "query" nor the id of one: expected "id", "_id" or "query_id"')
    return Row(
        line,
        None if by is None else line.id(values[by], "id of the query"),
        None if text is None else line.query_text(values[text]),
        grades,
    )


def graded(line: Line, grades: Mapping[Any, Any]) -> dict[str, int]:
    """Return grades by the ids of documents.

    Raises:
        FormatError: An id or a grade is not one.
    """
    return {line.id(name, "id of the document"): line.grade(grade) for name, grade in grades.items()}
