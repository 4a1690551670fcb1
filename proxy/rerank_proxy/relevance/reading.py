"""Queries and judgments in the forms of other programs. What a file holds tells its form, not its name.

| Form | Queries | Judgments |
| --- | --- | --- |
| TREC | `id<TAB>text`, or topics in SGML | `query iteration document grade` (qrels) |
| BEIR | `{"_id", "text"}` a line | `query<TAB>document<TAB>grade`, with or without a header |
| JSON lines | `{"query", "grades"}` a line, and `"id"` if wanted | the same file |
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Final, Literal

from rerank_proxy.relevance.clicks import Click, click_of
from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.files import write
from rerank_proxy.relevance.judgments import Judgments, Query
from rerank_proxy.relevance.lines import Line, lines_of
from rerank_proxy.relevance.topics import topics_of

Form = Literal["trec", "beir", "jsonl"]
"""A form of judgments in which they are written."""

_BEIR_HEADER: Final = ("query-id", "corpus-id", "score")
_CLICK_COLUMNS: Final = ("query", "document", "position")
_FORMS: Final[Mapping[str, Form]] = {".tsv": "beir", ".jsonl": "jsonl", ".ndjson": "jsonl"}


def read_queries(path: Path) -> dict[str, Query]:
    """Read queries, by their ids.

    Lines `{"query", "grades"}` without `"id"` are numbered from 1.

    Raises:
        RelevanceError: The file cannot be read, holds no query, or one twice with different texts.
    """
    found: dict[str, Query] = {}
    for line, query in _queries(path):
        if found.setdefault(query.id, query) != query:
            raise line.fault(f"the query {query.id} is there already, with another text")
    if not found:
        raise RelevanceError(f"{path}: holds no queries")
    return found


def read_judgments(path: Path) -> dict[str, dict[str, int]]:
    """Read judgments, by the ids of query and document.

    Raises:
        RelevanceError: The file cannot be read, holds no judgment, or two different ones of one pair.
    """
    found: dict[str, dict[str, int]] = {}
    for line, query, grades in _judgments(path):
        known = found.setdefault(query, {})
        for document, grade in grades.items():
            if known.setdefault(document, grade) != grade:
                raise line.fault(
                    f"document {document} has the grade {known[document]} for query {query} already: keep one"
                )
    if not any(found.values()):
        raise RelevanceError(f"{path}: holds no judgments")
    return found


def read_clicks(path: Path) -> list[Click]:
    """Read what users saw and clicked: lines of JSON, or columns with a header, separated by tabs.

    Raises:
        RelevanceError: The file cannot be read, or holds no clicks.
    """
    found = list(_clicks(path))
    if not found:
        raise RelevanceError(f"{path}: holds no clicks")
    return found


def write_judgments(
    path: Path,
    judgments: Judgments,
    *,
    queries: Mapping[str, Query] | None = None,
    form: Form | None = None,
    sources: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """Write judgments, in the place of those of a former file.

    Args:
        queries: Texts of the queries, which JSON lines hold.
        sources: Who has given each grade, for TREC's column of the iteration; it is 0 where nothing is said.
        form: Follows from the name of the file if it is not given: TREC's, unless it ends in .tsv or .jsonl.

    Raises:
        RelevanceError: The file cannot be written, or the form cannot hold an id.
    """
    chosen = form or _FORMS.get(path.suffix, "trec")
    lines = (
        _json_lines(judgments, queries or {})
        if chosen == "jsonl"
        else _columns(path, judgments, chosen, sources or {})
    )
    write(path, "".join(f"{line}\n" for line in lines).encode("utf-8"))


def _queries(path: Path) -> Iterator[tuple[Line, Query]]:
    lines = lines_of(path)
    first = next(lines, None)
    if first is None:
        return
    lines = chain([first], lines)
    mark = first.text.lstrip()[0]
    if mark == "<":
        yield from topics_of(lines)
        return
    for number, line in enumerate(lines, 1):
        yield line, _of_object(line, number) if mark == "{" else _of_columns(line)


def _of_object(line: Line, number: int) -> Query:
    values = line.object()
    if "query" in values:
        return Query(_number_or_id(line, values, number), line.query_text(values["query"]))
    name = line.member(values, "_id", "id")
    return Query(line.id(name, "id of the query"), line.query_text(line.member(values, "text")))


def _number_or_id(line: Line, values: Mapping[str, Any], number: int) -> str:
    return line.id(values.get("id", number), "id of the query")


def _of_columns(line: Line) -> Query:
    name, tab, text = line.text.partition("\t")
    if not tab:
        raise line.fault("expected the id of the query, a tab, and its text")
    return Query(line.id(name.strip(), "id of the query"), line.query_text(text.strip()))


def _judgments(path: Path) -> Iterator[tuple[Line, str, dict[str, int]]]:
    for number, line in enumerate(lines_of(path), 1):
        if line.text.lstrip().startswith("{"):
            yield line, *_graded_object(line, number)
            continue
        columns = line.text.split("\t")
        if number == 1 and tuple(column.strip().lower() for column in columns) == _BEIR_HEADER:
            continue
        if len(columns) != 3:
            columns = line.text.split()
            del columns[1:2]
        if len(columns) != 3 or not all(columns):
            raise line.fault(
                "expected `query iteration document grade` (TREC), or query, document and grade with tabs "
                "between them (BEIR)"
            )
        query, document, grade = columns
        yield line, line.id(query, "id of the query"), _graded(line, {document: grade.strip()})


def _graded_object(line: Line, number: int) -> tuple[str, dict[str, int]]:
    values = line.object()
    if "query-id" in values:
        query = line.id(values["query-id"], "id of the query")
        document = line.id(line.member(values, "corpus-id"), "id of the document")
        return query, _graded(line, {document: line.member(values, "score")})
    grades = line.member(values, "grades")
    if not isinstance(grades, dict):
        raise line.fault('"grades" must be an object, {"id of a document": grade, …}')
    return _number_or_id(line, values, number), _graded(line, grades)


def _graded(line: Line, grades: Mapping[str, Any]) -> dict[str, int]:
    return {line.id(name, "id of the document"): line.grade(grade) for name, grade in grades.items()}


def _clicks(path: Path) -> Iterator[Click]:
    names: list[str] | None = None
    for line in lines_of(path):
        if line.text.lstrip().startswith("{"):
            yield click_of(line, line.object())
        elif names is None:
            names = [name.strip().lower() for name in line.text.split("\t")]
            if not {*_CLICK_COLUMNS} <= {*names}:
                raise line.fault(f"expected a header with {', '.join(_CLICK_COLUMNS)}, separated by tabs")
        else:
            columns = line.text.split("\t")
            if len(columns) != len(names):
                raise line.fault(f"has {len(columns)} columns, and the header {len(names)}")
            yield click_of(line, dict(zip(names, columns, strict=True)))


def _json_lines(judgments: Judgments, queries: Mapping[str, Query]) -> Iterator[str]:
    for name, grades in judgments.items():
        values: dict[str, Any] = {"id": name, "grades": dict(grades)}
        if name in queries:
            values = {"id": name, "query": queries[name].text, "grades": dict(grades)}
        yield json.dumps(values, ensure_ascii=False)


def _columns(
    path: Path, judgments: Judgments, form: Form, sources: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    if form == "beir":
        yield "\t".join(_BEIR_HEADER)
    for query, grades in judgments.items():
        for document, grade in grades.items():
            _check_separators(path, (query, document), form)
            source = sources.get(query, {}).get(document, "0")
            yield (
                f"{query} {source} {document} {grade}" if form == "trec" else f"{query}\t{document}\t{grade}"
            )


def _check_separators(path: Path, ids: Iterable[str], form: Form) -> None:
    for name in ids:
        parts = name.split() if form == "trec" else [name.strip()]
        if parts != [name] or any(mark in name for mark in "\t\r\n") or name[0] in "{\ufeff":
            raise RelevanceError(
                f"{path}: the id {name!r} cannot be written in this form, because of a separator in it: give "
                "the file a name that ends in .jsonl"
            )
