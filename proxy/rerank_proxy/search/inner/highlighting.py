"""`highlight` over the query of the last search, as Elasticsearch does it over native's in that place."""

from collections.abc import Mapping, Sequence
from typing import Final

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.search.retrievers.queries import MATCH_NONE, array, disjunction, query, to_object
from rerank_proxy.xcontent.splicing import elements, members

_QUERY: Final = "highlight_query"
_FAST_VECTOR: Final = b'"fvh"'
_RUNTIME: Final = "_highlighted_by_terms"


def highlighting(others: Mapping[str, bytes], leaves: Sequence[bytes]) -> Mapping[str, bytes]:
    """The members of a search body that highlight for a query that stands in for native's.

    The unified highlighter marks what of a document matches, unless the query has a part that is unlike
    terms, such as native's or one on a runtime field: then it marks all terms of the query. The fast vector
    highlighter finds none in native's. What the client has highlighted in its place stays as it is.

    Args:
        others: Of the client's body, `highlight` among them.
        leaves: What native's query shows of those of the retrievers.
    """
    try:
        runtime = members(others.get("runtime_mappings", b"{}"))
        section = members(others["highlight"])
        fields = [(name, members(options)) for name, options in _fields(section["fields"])]
    except (ElasticsearchError, KeyError, TypeError):
        return {}  # upstream refuses it
    if _QUERY in section:
        return {}
    seen = (_seen(options, section.get("type", b"")) for _, options in fields)
    printed = (to_object({name: to_object(options)}) for (name, _), options in zip(fields, seen, strict=True))
    by_terms = query("term", {_RUNTIME: b'""'})
    shown = disjunction([*leaves, by_terms]) if leaves else MATCH_NONE
    return {
        "highlight": to_object({**section, "fields": array(printed), _QUERY: shown}),
        "runtime_mappings": to_object({**runtime, _RUNTIME: b'{"type":"keyword"}'}),
    }


def _fields(fields: bytes) -> list[tuple[str, bytes]]:
    """They are the members of one object, or objects of one member each where their order counts."""
    objects = elements(fields) if fields.startswith(b"[") else [fields]
    return [member for each in objects for member in members(each).items()]


def _seen(options: Mapping[str, bytes], general: bytes) -> Mapping[str, bytes]:
    blind = _QUERY not in options and options.get("type", general) == _FAST_VECTOR
    return {**options, _QUERY: MATCH_NONE} if blind else options
