"""`highlight` over the query of the last search, as Elasticsearch does it over native's in that place."""

from collections.abc import Mapping, Sequence
from typing import Final

from proxy.errors import ElasticsearchError
from proxy.search.inner.queries import MATCH_NONE, disjunction, query, to_object
from proxy.search.rawjson import members

_QUERY: Final = "highlight_query"
_RUNTIME: Final = "_highlighted_by_terms"


def highlighting(others: Mapping[str, bytes], leaves: Sequence[bytes]) -> Mapping[str, bytes]:
    """The members of a search body that highlight for a query that stands in for native's.

    The unified highlighter marks what of a document matches, unless the query has a part that is unlike terms,
    such as native's or one on a runtime field: then it marks all terms of the query. What the client has
    highlighted in place of the query stays as it is.

    Args:
        others: Of the client's body, `highlight` among them.
        leaves: What native's query shows of those of the retrievers.
    """
    try:
        runtime = members(others.get("runtime_mappings", b"{}"))
        section = members(others["highlight"])
    except (ElasticsearchError, TypeError):
        return {}  # upstream refuses it
    if _QUERY in section:
        return {}
    by_terms = query("term", {_RUNTIME: b'""'})
    shown = disjunction([*leaves, by_terms]) if leaves else MATCH_NONE
    return {
        "highlight": to_object({**section, _QUERY: shown}),
        "runtime_mappings": to_object({**runtime, _RUNTIME: b'{"type":"keyword"}'}),
    }
