"""The systems that an evaluation compares, as a command line names them.

| Name | System |
| --- | --- |
| `bm25:FIELD` | a search for the words of the query in a field, or in several with commas between |
| `FILE.json`, `FILE.yaml` | a template: one system for each window and endpoint that it has a place for |
| `NAME=…` | one of these under another name |
| an endpoint, with a field and windows | a reranker above the first stage, one system for each window |
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.templates import (
    ENDPOINT,
    WINDOW,
    Template,
    bm25,
    is_file,
    read_template,
    reranked,
    rerankers_in,
)

BM25: Final = "bm25"
DEFAULT_ENDPOINT: Final = ".rerank-v1-elasticsearch"
"""What Elasticsearch takes for a reranker that names no endpoint."""
MAX_SYSTEMS: Final = 100
DEEP: Final = 1000
"""Hits that a measure without a cutoff looks at, as TREC's runs have."""
_DEFAULT_WINDOW: Final = 10
"""Elasticsearch's `rank_window_size` of a retriever that has none."""


@dataclass(frozen=True, slots=True)
class System:
    """What is compared: one body for all queries.

    Attributes:
        name: Its own among the systems.
        group: The name of the systems that differ from it in the window alone.
        window: What stands for `{{window}}`, or the largest window of its rerankers; None without both.
    """

    name: str
    group: str
    window: int | None
    template: Template

    def body(self, query: str, depth: int) -> dict[str, Any]:
        """Return the body of a search: without the documents, and with as many hits as are measured.

        A compound retriever answers with no more hits than its window has.
        """
        body = self.template.fill(query)
        retriever = body.get("retriever")
        most = depth
        if isinstance(retriever, Mapping) and len(retriever) == 1:
            (kind, values), *_ = retriever.items()
            if kind not in ("standard", "knn") and isinstance(values, Mapping):
                given = values.get("rank_window_size", _DEFAULT_WINDOW)
                most = min(depth, given) if isinstance(given, int) else depth
        return {"size": most, "_source": False, **body}

    def endpoints(self) -> list[str]:
        """Return the endpoints that its rerankers ask."""
        named = (each.get("inference_id", DEFAULT_ENDPOINT) for each in rerankers_in(self.template.body))
        return list(dict.fromkeys(map(str, named)))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a command line asks for.

    Attributes:
        systems: `[NAME=]SPEC`, as in the table of this module.
        endpoints: `[NAME=]ID`.
        field: What endpoints read, and what `bm25` searches by default.
        windows: The windows of endpoints, and of templates that have a place for one.
        first_stage: What endpoints rerank: `bm25:FIELD`, or the file of a template with a retriever.
    """

    systems: Sequence[str]
    endpoints: Sequence[str] = ()
    field: str | None = None
    windows: Sequence[int] = (50,)
    first_stage: str | None = None


def systems_of(wanted: Wanted) -> list[System]:
    """Make the systems, each with a name of its own.

    Raises:
        RelevanceError: One cannot be made, or there are too many.
    """
    endpoints = dict(_named(each) for each in wanted.endpoints)
    found: list[System] = []
    used = False
    for name, spec in map(_named, wanted.systems):
        template = _template(name, spec, wanted.field)
        used = used or ENDPOINT in template.names()
        found += _expanded(template, wanted.windows, endpoints)
    if endpoints and not used:
        found += _of_endpoints(endpoints, wanted)
    if not found:
        raise RelevanceError("nothing to compare: name systems by --system, or endpoints by --endpoint")
    if len(found) > MAX_SYSTEMS:
        raise RelevanceError(
            f"{len(found)} systems are more than {MAX_SYSTEMS}: try fewer windows or endpoints"
        )
    names = [each.name for each in found]
    if double := next((name for name in names if names.count(name) > 1), None):
        raise RelevanceError(f"two systems are called {double}: name them, as in --system mine=FILE")
    if unfit := next((name for name in names if not name.isprintable()), None):
        raise RelevanceError(f"{unfit!r} cannot be shown as a name: give another one, as --system mine=FILE")
    return found


def first_stage(spec: str | None, field: str) -> Template:
    """Return the template of what a reranker stands above.

    Args:
        spec: `bm25:FIELD`, or the file of a template; None for `bm25` of the field.

    Raises:
        RelevanceError: It cannot be made, or has no retriever.
    """
    template = _template("first stage", spec or BM25, field)
    if "retriever" not in template.body:
        raise RelevanceError(f"{spec}: a first stage must have a retriever, which a reranker can stand above")
    return template


def depth_of(measures: Iterable[str], least: int = 10) -> int:
    """Return the number of hits that measures look at: the largest number behind an @, or `DEEP`."""
    cutoffs = [name.rpartition("@")[2] for name in measures]
    return max([least, *(int(each) if each.isdigit() else DEEP for each in cutoffs)])


def _named(spec: str) -> tuple[str, str]:
    name, equals, rest = spec.partition("=")
    if equals and not (name and rest):
        raise RelevanceError(f"{spec}: expected NAME=SYSTEM")
    if equals:
        return name, rest
    return (Path(spec).stem if is_file(spec) else spec.partition(":")[0]), spec


def _template(name: str, spec: str, field: str | None) -> Template:
    if is_file(spec):
        return read_template(Path(spec), name)
    kind, _, named = spec.partition(":")
    if kind != BM25:
        raise RelevanceError(f"{spec}: is neither bm25:FIELD nor a file that ends in .json or .yaml")
    if not (named or field):
        raise RelevanceError(f"{spec}: in which field? Give bm25:FIELD, or --field")
    return bm25(named or field or "", name)


def _expanded(template: Template, windows: Sequence[int], endpoints: Mapping[str, str]) -> list[System]:
    """Return a system for each window and endpoint that a template has places for."""
    names = template.names()
    if ENDPOINT in names and not endpoints:
        raise RelevanceError(f"{template.name}: has a place for {{{{endpoint}}}}: give --endpoint")
    over_windows = list(windows) if WINDOW in names else [None]
    over_endpoints = list(endpoints.items()) if ENDPOINT in names else [(None, None)]
    made = []
    for (label, endpoint), window in product(over_endpoints, over_windows):
        group = template.name if label is None or len(endpoints) == 1 else f"{template.name}-{label}"
        values = {ENDPOINT: endpoint, WINDOW: window}
        given = {name: value for name, value in values.items() if value is not None}
        name = group if window is None or len(windows) == 1 else f"{group}@{window}"
        made.append(_system(template.with_values(name, given), group, window))
    return made


def _of_endpoints(endpoints: Mapping[str, str], wanted: Wanted) -> list[System]:
    if wanted.field is None:
        raise RelevanceError("which field is an endpoint to read? Give --field")
    fields = wanted.field.split(",")
    first = first_stage(wanted.first_stage, wanted.field)
    made = []
    for (label, endpoint), window in product(endpoints.items(), wanted.windows):
        name = label if len(wanted.windows) == 1 else f"{label}@{window}"
        made.append(_system(reranked(first, name, endpoint=endpoint, field=fields[0], window=window), label))
    return made


def _system(template: Template, group: str, window: int | None = None) -> System:
    """Make a system.

    Args:
        window: What stands for `{{window}}`, wherever that is; otherwise the largest of its rerankers counts.
    """
    windows = [each.get("rank_window_size", _DEFAULT_WINDOW) for each in rerankers_in(template.body)]
    numbers = [each for each in windows if isinstance(each, int)]
    return System(template.name, group, window or max(numbers, default=None), template)
