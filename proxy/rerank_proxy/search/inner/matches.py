"""Which documents the final search finds beside the ranked ones: the other matches of a tree."""

from collections.abc import Sequence

from rerank_proxy.search.retrievers.queries import any_of, array, boolean, disjunction
from rerank_proxy.search.retrievers.retriever import Found


def tail(root: Found) -> bytes:
    """Return a query for all documents that match, ranked or not (``RankDocsRetrieverBuilder#topDocsQuery``).

    As there, the compound retrievers right below the root go without their names.
    """
    return disjunction(_all(root))


def _all(root: Found) -> list[bytes]:
    below = [each for child in root.children for each in child.matches()]
    return root.retriever.matches(root, below)


def explainable(root: Found) -> bytes:
    """Return the same for a search that explains: of the compound retrievers below, only the documents that
    they ranked (``RankDocsRetrieverBuilder#explainQuery``).
    """
    return disjunction([_ranked(child) if child.children else tail(child) for child in root.children])


def highlightable(root: Found, *, explains: bool) -> Sequence[bytes]:
    """Return what of the leaves' queries a highlighter sees in ``RankDocsQuery``; where that explains, it
    does not look into the compound retrievers below the root.
    """
    if not explains:
        return [tail(root)]
    return [query for child in root.children if not child.children for query in child.matches()]


def _ranked(found: Found) -> bytes:
    """Return a query for what a compound retriever ranked; the queries below take part for their names
    alone.
    """
    clauses = {
        "filter": array([any_of(found.docs)]),
        "should": array([explainable(found)]),
        "minimum_should_match": b"0",
    }
    return boolean(clauses, found.retriever.name)
