"""Queries and judgments in the forms of other programs. What a file holds tells its form, not its name.

| Form | Queries | Judgments |
| --- | --- | --- |
| TREC | `id<TAB>text`, or topics in SGML or XML | `query iteration document grade` (qrels) |
| BEIR | `{"_id", "text"}` a line | `query<TAB>document<TAB>grade`, with or without a header |
| JSON | `{"query", "grades"}` a line, and `"id"` if wanted, or a document (`objects`) | the same file |
| Table | columns with tabs, commas or semicolons between, and a header that names them | the same file |

Queries without ids are told apart by their texts, and numbered from 1 in the order in which they are met.
"""

from collections.abc import Container, Iterator, Mapping
from itertools import chain, count
from pathlib import Path
from typing import Final

from rerank_proxy.relevance.clicks import Click
from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.formats.click_rows import click_of
from rerank_proxy.relevance.formats.columns import judgment_of, query_of
from rerank_proxy.relevance.formats.lines import Line, lines_of
from rerank_proxy.relevance.formats.objects import objects_of
from rerank_proxy.relevance.formats.packing import content_of
from rerank_proxy.relevance.formats.rows import (
    DOCUMENTS,
    GRADES,
    QUERY_IDS,
    TEXTS,
    Row,
    plain,
    row_of,
)
from rerank_proxy.relevance.formats.tables import Header
from rerank_proxy.relevance.formats.topics import topics_of
from rerank_proxy.relevance.judgments import Query

_CLICK_COLUMNS: Final = ("query", "document", "position")


def read_queries(path: Path) -> dict[str, Query]:
    """Read queries, by their ids.

    Raises:
        RelevanceError: The file cannot be read, holds no query, or one twice with different texts.
    """
    found: dict[str, Query] = {}
    for line, name, text, _ in _identified(_rows(path, judged=False), {}):
        if text is None:
            raise line.fault("has no text of a query: name the file that has, by --queries")
        found.setdefault(name, Query(name, text))
    if not found:
        raise RelevanceError(f"{path}: holds no queries")
    return found


def read_judgments(path: Path, queries: Mapping[str, Query] | None = None) -> dict[str, dict[str, int]]:
    """Read judgments, by the ids of query and document.

    Args:
        queries: Those that are judged, of another file: judgments that give their text alone get their ids.

    Raises:
        RelevanceError: The file cannot be read, holds no judgment, two different ones of one pair, or ones of
            a query that has another text among the queries.
    """
    found: dict[str, dict[str, int]] = {}
    for line, name, _, grades in _identified(_rows(path, judged=True), queries or {}):
        if grades is None:
            raise line.fault("has no grade: is this a file of queries?")
        known = found.setdefault(name, {})
        for document, grade in grades.items():
            if known.setdefault(document, grade) != grade:
                raise line.fault(
                    f"document {document} has the grade {known[document]} for query {name} already: keep one"
                )
    if not any(found.values()):
        raise RelevanceError(f"{path}: holds no judgments")
    return found


def read_clicks(path: Path) -> list[Click]:
    """Read what users saw and clicked: lines of JSON, or columns with a header.

    Raises:
        RelevanceError: The file cannot be read, or holds no clicks.
    """
    found = list(_clicks(path))
    if not found:
        raise RelevanceError(f"{path}: holds no clicks")
    return found


def _identified(
    rows: Iterator[Row], queries: Mapping[str, Query]
) -> Iterator[tuple[Line, str, str | None, Mapping[str, int] | None]]:
    """Yield what rows say, with the id of the query in each.

    Raises:
        FormatError: A query has two texts.
    """
    texts = {name: query.text for name, query in queries.items()}
    names: dict[str, str] = {}
    for known, query in queries.items():
        names.setdefault(query.text, known)
    for line, given, text, grades in rows:
        name = given or names.get(text or "") or _free(texts, len(names) + 1)
        if text is not None:
            names.setdefault(text, name)
            if texts.setdefault(name, text) != text:
                raise line.fault(f"the query {name} is there already, with another text")
        yield line, name, text, grades


def _free(taken: Container[str], number: int) -> str:
    """Return the first number, from one on, that no query has as its id."""
    return next(str(each) for each in count(number) if str(each) not in taken)


def _rows(path: Path, *, judged: bool) -> Iterator[Row]:
    """Yield what the lines of a file say.

    Args:
        judged: Whether columns without a header are judgments.
    """
    content = content_of(path)
    if content.lstrip()[:1] in (b"{", b"["):
        yield from objects_of(path, content)
        return
    lines = lines_of(path, content)
    first = next(lines, None)
    if first is None:
        return
    if first.text.lstrip().startswith("<"):
        yield from topics_of(chain([first], lines))
    elif header := _header(first, judged=judged):
        yield from (row_of(line, values) for line, values in header.rows(lines))
    else:
        of_columns = judgment_of if judged else query_of
        yield from map(of_columns, chain([first], lines))


def _header(line: Line, *, judged: bool) -> Header | None:
    """Return the header that a line is, if its columns hold what is wanted."""
    groups = ((*QUERY_IDS, *TEXTS), DOCUMENTS, GRADES)
    found = Header.of(line, *groups)
    return found if found is not None or judged else Header.of(line, TEXTS)


def _clicks(path: Path) -> Iterator[Click]:
    lines = lines_of(path, content_of(path))
    first = next(lines, None)
    if first is None:
        return
    if first.text.lstrip().startswith("{"):
        for line in chain([first], lines):
            yield click_of(line, {plain(name): value for name, value in line.object().items()})
        return
    header = Header.of(first, *([name] for name in _CLICK_COLUMNS))
    if header is None:
        raise first.fault(
            f"expected a header with {', '.join(_CLICK_COLUMNS)}, with tabs, commas or semicolons between"
        )
    for line, values in header.rows(lines):
        yield click_of(line, values)
