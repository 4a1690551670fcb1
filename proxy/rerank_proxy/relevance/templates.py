"""Search bodies with a query in them: what is compared is written once, and filled for each query.

A template is JSON in which texts may hold `{{query}}`, and `{{window}}` and `{{endpoint}}` where one is to be
tried with several. Values are put into the parsed texts and never into JSON, so that no query can change the
body that it becomes a part of. A text that is `{{window}}` alone becomes a number.

    {"text_similarity_reranker": {
        "retriever": {"standard": {"query": {"match": {"plot": "{{query}}"}}}},
        "field": "plot", "inference_text": "{{query}}", "rank_window_size": "{{window}}"}}
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.files import read_text

QUERY: Final = "query"
WINDOW: Final = "window"
ENDPOINT: Final = "endpoint"
RERANKER: Final = "text_similarity_reranker"

_NAMES: Final = (QUERY, WINDOW, ENDPOINT)
_PLACE: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_MUSTACHE: Final = re.compile(r"\{\{(?:\{\s*\w+\s*\}|\s*[#/^>&!=][^{}]*)\}\}")
"""What a search template of Elasticsearch may hold besides, and would be left in a text as it is."""
_BODY_KEYS: Final = frozenset({"query", "retriever"})
_SUFFIXES: Final = frozenset({".json", ".yaml", ".yml"})
_MAX_BYTES: Final = 1 << 20
_MAX_DEPTH: Final = 100
_BEGINS: Final = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_ENDS: Final = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)


@dataclass(frozen=True, slots=True)
class Template:
    """The body of a search for any query.

    Attributes:
        name: By which a report shows what is searched with it.
        body: A search body, as parsed JSON.
    """

    name: str
    body: Mapping[str, Any]

    def names(self) -> set[str]:
        """Return the names between braces that are still to be filled."""
        return set(names_in(self.body))

    def fill(self, query: str) -> dict[str, Any]:
        """Return the body for a query."""
        body: dict[str, Any] = filled(self.body, {QUERY: query})
        return body

    def with_values(self, name: str, values: Mapping[str, Any]) -> "Template":
        """Return the template with some of its names filled for every query, under another name."""
        return Template(name, filled(self.body, values))


def template_of(name: str, body: Any) -> Template:
    """Make a template of a search body, or of a retriever alone.

    Raises:
        RelevanceError: It is no such thing, has no `{{query}}`, or another name between braces.
    """
    if not isinstance(body, dict) or not body:
        raise RelevanceError(f"{name}: must be an object: a search body, or a retriever")
    if _depth(body) > _MAX_DEPTH:
        raise RelevanceError(f"{name}: is more than {_MAX_DEPTH} levels deep")
    if len(body) == 1 and not body.keys() & _BODY_KEYS:
        body = {"retriever": body}
    names = set(names_in(body))
    if QUERY not in names:
        raise RelevanceError(f"{name}: has no {{{{query}}}} in it, where the query is to stand")
    if unknown := sorted(names - set(_NAMES)):
        known = ", ".join(f"{{{{{each}}}}}" for each in _NAMES)
        raise RelevanceError(f"{name}: {{{{{unknown[0]}}}}} is not known: there are {known}")
    if tag := next((found[0] for text in texts_in(body) if (found := _MUSTACHE.search(text))), None):
        raise RelevanceError(f"{name}: {tag} is not known: write {{{{query}}}}, without any other marks")
    if body.get("from"):
        raise RelevanceError(f'{name}: hits are measured from the first: leave out "from"')
    if place := next(_places_of_names(body), None):
        raise RelevanceError(f"{name}: {place} stands in place of a name: it can only be in a value")
    return Template(name, body)


def read_template(path: Path, name: str | None = None) -> Template:
    """Read a template from a file of JSON or YAML.

    Args:
        name: That of the file, without its ending, if it is not given.

    Raises:
        RelevanceError: The file cannot be read, or holds no template.
    """
    text = read_text(path, _MAX_BYTES)
    try:
        body = json.loads(text) if path.suffix == ".json" else _yaml(path, text)
    except json.JSONDecodeError as error:
        raise RelevanceError(f"{path}, line {error.lineno}: is not JSON: {error.msg}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        form = "JSON" if path.suffix == ".json" else "YAML"
        raise RelevanceError(f"{path}{where}: is not {form} that can be read") from None
    try:
        # In YAML names may be numbers, and the same as others in JSON.
        return template_of(name or path.stem, json.loads(json.dumps(body, allow_nan=False)))
    except RelevanceError as error:
        raise RelevanceError(f"{path}: {error}") from None
    except (TypeError, ValueError, RecursionError):
        problem = "holds a value that JSON cannot, such as a date: put it in quotes"
        raise RelevanceError(f"{path}: {problem}") from None


def is_file(spec: str) -> bool:
    """Tell whether what names a system is a file of a template: by its ending."""
    return Path(spec).suffix.lower() in _SUFFIXES


def bm25(field: str, name: str = "bm25") -> Template:
    """Make the template of a search for the words of the query in a field.

    Args:
        field: Several with commas between them are searched together.
    """
    fields = [each.strip() for each in field.split(",")]
    if not all(fields):
        raise RelevanceError(f"{name}: expected the name of a field: bm25:FIELD")
    if len(fields) == 1:
        query: dict[str, Any] = {"match": {fields[0]: "{{query}}"}}
    else:
        query = {"multi_match": {"query": "{{query}}", "fields": fields, "type": "most_fields"}}
    return Template(name, {"retriever": {"standard": {"query": query}}})


def reranked(
    first: Template, name: str, *, endpoint: str, field: str, window: int, **options: Any
) -> Template:
    """Make the template of a reranker above the retriever of another template.

    Args:
        endpoint: The `inference_id`.
        field: What the model reads.
        options: Further members of the reranker, such as `chunk_rescorer`.
    """
    reranker = {
        "retriever": first.body["retriever"],
        "inference_id": endpoint,
        "inference_text": "{{query}}",
        "field": field,
        "rank_window_size": window,
        **options,
    }
    return Template(name, {**first.body, "retriever": {RERANKER: reranker}})


def rerankers_in(value: Any) -> list[Mapping[str, Any]]:
    """Return the rerankers of a body, from the outermost inwards."""
    if isinstance(value, Mapping):
        found = [value[RERANKER]] if isinstance(value.get(RERANKER), Mapping) else []
        return found + [each for inner in value.values() for each in rerankers_in(inner)]
    if isinstance(value, list):
        return [each for inner in value for each in rerankers_in(inner)]
    return []


def _yaml(path: Path, text: str) -> Any:
    """Parse YAML without aliases, of which few lines can make a body of any size."""
    depth = 0
    for token in yaml.scan(text):
        if isinstance(token, yaml.AliasToken):
            raise RelevanceError(f"{path}: holds an alias (*name): write out what it stands for")
        depth += isinstance(token, _BEGINS) - isinstance(token, _ENDS)
        if depth > _MAX_DEPTH:  # of which each level would take longer to read
            raise RelevanceError(f"{path}: is more than {_MAX_DEPTH} levels deep")
    return yaml.safe_load(text)


def names_in(value: Any) -> Sequence[str]:
    """Return the names between braces in the texts of a value."""
    return [name for text in texts_in(value) for name in _PLACE.findall(text)]


def texts_in(value: Any) -> Iterator[str]:
    """Yield the texts of a value, but for the names of its members."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from texts_in(inner)


def _places_of_names(value: Any) -> Iterator[str]:
    """Yield what stands between braces where nothing is filled: in the names of members."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from (place[0] for place in _PLACE.finditer(str(key)))
            yield from _places_of_names(inner)
    elif isinstance(value, list):
        for each in value:
            yield from _places_of_names(each)


def filled(value: Any, values: Mapping[str, Any]) -> Any:
    """Return a value with some names between braces in its texts filled. What they are filled with is not
    searched for further names.
    """
    if isinstance(value, str):
        alone = _PLACE.fullmatch(value)
        if alone is not None and alone[1] in values:
            return values[alone[1]]
        return _PLACE.sub(lambda place: str(values.get(place[1], place[0])), value)
    if isinstance(value, Mapping):
        return {key: filled(inner, values) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, values) for inner in value]
    return value


def _depth(value: Any) -> int:
    """Return the number of levels, or one more than are allowed."""
    level, depth = [value], 0
    while level and depth <= _MAX_DEPTH:
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        depth += 1
    return depth
