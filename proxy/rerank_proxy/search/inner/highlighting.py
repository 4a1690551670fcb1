"""Make `highlight` work on the query of the final search as it does on the query that native has there."""

from collections.abc import Mapping, Sequence
from typing import Final

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.search.retrievers.queries import MATCH_NONE, array, disjunction, query, to_object
from rerank_proxy.xcontent.splicing import elements, members

_QUERY: Final = "highlight_query"
_FAST_VECTOR: Final = b'"fvh"'
_RUNTIME: Final = "_highlighted_by_terms"


def highlighting(body: Mapping[str, bytes], leaves: Sequence[bytes]) -> Mapping[str, bytes]:
    """Return the members of a final search's body that make it highlight as native does.

    The unified highlighter marks the parts of a document that match, unless the query has a part that is not
    made of terms, as native's query has and as one on a runtime field is: then it marks all terms of the
    query. The fast vector highlighter finds no terms in native's query. Where the client has a
    `highlight_query` itself, nothing is changed.

    Args:
        body: The members of the final search's body, `highlight` among them.
        leaves: The queries of leaves that highlighters see in native's query.

    Returns:
        `highlight` and `runtime_mappings`; nothing if they stay as they are.
    """
    try:
        runtime = members(body.get("runtime_mappings", b"{}"))
        section = members(body["highlight"])
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
    """Return the fields to highlight: members of one object or, in a given order, of several in an array."""
    objects = elements(fields) if fields.startswith(b"[") else [fields]
    return [member for each in objects for member in members(each).items()]


def _seen(options: Mapping[str, bytes], general: bytes) -> Mapping[str, bytes]:
    blind = _QUERY not in options and options.get("type", general) == _FAST_VECTOR
    return {**options, _QUERY: MATCH_NONE} if blind else options
