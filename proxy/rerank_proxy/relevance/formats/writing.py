"""Writes judgments in the forms of TREC and BEIR, and as JSON lines."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.files import write
from rerank_proxy.relevance.judgments import Judgments, Query

Form = Literal["trec", "beir", "jsonl"]

_FORMS: Final[Mapping[str, Form]] = {".tsv": "beir", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_BEIR_HEADER: Final = ("query-id", "corpus-id", "score")
_BEGINNINGS: Final = "{[<\ufeff"
"""Of a file, by which other forms are told: the id of a query comes first in one of columns."""
_UNFIT: Final = "\t\r\n\0"
"""What stands in no id between columns."""


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
            _check(path, query, form, first=form == "trec")
            _check(path, document, form)
            source = sources.get(query, {}).get(document, "0")
            yield (
                f"{query} {source} {document} {grade}" if form == "trec" else f"{query}\t{document}\t{grade}"
            )


def _check(path: Path, name: str, form: Form, *, first: bool = False) -> None:
    """Refuse an id that would not be read again.

    Args:
        first: Whether it begins the line.
    """
    parts = name.split() if form == "trec" else [name.strip()]
    begins_otherwise = first and name[0] in _BEGINNINGS
    if parts != [name] or any(mark in name for mark in _UNFIT) or begins_otherwise:
        raise RelevanceError(
            f"{path}: the id {name!r} cannot be written in this form, because of a separator in it: give "
            "the file a name that ends in .jsonl"
        )
