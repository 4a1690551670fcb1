"""Queries and judgments in JSON: an object a line, or one document with all of them.

| Document | Of |
| --- | --- |
| a list of the objects that a line can be | any program |
| `{"1": {"184": 3}}`, and `{"1": "text"}` for queries | ranx, pytrec_eval |
| `{"requests": [{"id", "request", "ratings": [{"_id", "rating"}]}]}` | Elasticsearch's `_rank_eval` |
| `{"judgmentRatings": [{"query", "ratings": [{"docId", "rating"}]}]}` | OpenSearch's Relevance Workbench |
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from rerank_proxy.relevance.formats.lines import Line, json_of, lines_of, reason_of
from rerank_proxy.relevance.formats.rows import DOCUMENTS, QUERY_IDS, TEXTS, Row, graded, plain, row_of

_OPENS: Final = (b"{", b"[", b",")
_ROW: Final = frozenset({*QUERY_IDS, *TEXTS, "grades"})
_LISTS: Final = ("requests", "judgmentratings")


def objects_of(path: Path, content: bytes) -> Iterator[Row]:
    """Yield what the objects of a file say.

    Raises:
        FormatError: One is no such object.
    """
    if _is_document(content):
        yield from _of_document(path, content)
        return
    for line in lines_of(path, content):
        yield _of_object(line, line.object())


def _is_document(content: bytes) -> bool:
    """Tell whether a file is one JSON document: a list, a single line, or an object over several lines."""
    first, _, more = content.strip().partition(b"\n")
    return not more or first.startswith(b"[") or first.rstrip().endswith(_OPENS)


def _of_document(path: Path, content: bytes) -> Iterator[Row]:
    value = _parsed(path, content)
    names = {plain(name): name for name in value} if isinstance(value, dict) else {}
    if listed := next((name for name in _LISTS if name in names), None):
        value = value[names[listed]]
    elif (kind := _kind(value)) is not None:
        value = [{"id": name, kind: each} for name, each in value.items()]
    elif isinstance(value, dict):
        yield _of_object(Line(path, 1, ""), value)
        return
    if not isinstance(value, list):
        raise Line(path, 1, "").fault("is not a JSON object or a list of them")
    for number, each in enumerate(value, 1):
        line = Line(path, number, "", unit="entry")
        if not isinstance(each, dict):
            raise line.fault("is not a JSON object: expected {…}")
        yield _of_object(line, each)


def _parsed(path: Path, content: bytes) -> Any:
    try:
        return json_of(content.rstrip().decode("utf-8"))
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise Line(path, number, "").fault("is not UTF-8: save the file in that coding") from None
    except (ValueError, RecursionError) as error:
        number = getattr(error, "lineno", 1)
        raise Line(path, number, "").fault(f"is not JSON: {reason_of(error)}") from None


def _kind(value: Any) -> str | None:
    """Return what stands behind the ids of queries in an object: their grades, or their texts."""
    if not isinstance(value, dict) or {*map(plain, value)} & _ROW:
        return None
    if all(isinstance(each, dict) for each in value.values()):
        return "grades"
    return "query" if all(isinstance(each, str) for each in value.values()) else None


def _of_object(line: Line, values: Mapping[str, Any]) -> Row:
    named = {plain(name): value for name, value in values.items()}
    ratings = named.pop("ratings", None)
    if ratings is None:
        return row_of(line, named)
    row = row_of(line, {**named, "grades": {}})
    return row._replace(grades=_rated(line, ratings), text=row.text or _only_text(named.get("params")))


def _rated(line: Line, ratings: Any) -> dict[str, int]:
    """Return the grades of `[{"_id": …, "rating": …}]`."""
    grades: dict[str, int] = {}
    for each in ratings if isinstance(ratings, list) else [ratings]:
        if not isinstance(each, dict):
            raise line.fault('"ratings" must be a list, [{"_id": id of a document, "rating": grade}, …]')
        named = {plain(name): value for name, value in each.items()}
        document = line.member(named, "_id", *DOCUMENTS)
        for name, grade in graded(line, {document: line.member(named, "rating")}).items():
            if grades.setdefault(name, grade) != grade:
                raise line.fault(f"document {name} has two grades, as of two indices: keep one")
    return grades


def _only_text(params: Any) -> str | None:
    """Return the text that a search template of `_rank_eval` is filled with, if it is the only one."""
    texts = [each for each in params.values() if isinstance(each, str)] if isinstance(params, dict) else []
    return texts[0] if len(texts) == 1 else None
