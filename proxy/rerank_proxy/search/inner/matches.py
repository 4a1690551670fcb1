"""Build queries for the matches of a tree, which the final search finds beside the ranked documents."""

from collections.abc import Sequence

from rerank_proxy.search.retrievers.queries import any_of, array, boolean, disjunction
from rerank_proxy.search.retrievers.retriever import EvaluatedRetriever


def tail(root: EvaluatedRetriever) -> bytes:
    """Return a query for all documents that match, ranked or not (``RankDocsRetrieverBuilder#topDocsQuery``).

    As natively, compound retrievers directly below the root lose their names.
    """
    return disjunction(_all(root))


def _all(root: EvaluatedRetriever) -> list[bytes]:
    below = [each for child in root.children for each in child.matches()]
    return root.retriever.matches(root, below)


def explainable(root: EvaluatedRetriever) -> bytes:
    """Return a query for the documents that match, for a search with explanations.

    Compound retrievers below the root then contribute only the documents that they ranked
    (``RankDocsRetrieverBuilder#explainQuery``).
    """
    return disjunction([_ranked(child) if child.children else tail(child) for child in root.children])


def highlightable(root: EvaluatedRetriever, *, explains: bool) -> Sequence[bytes]:
    """Return the queries of leaves that a highlighter sees in ``RankDocsQuery``.

    Args:
        explains: Whether the search is one with explanations: then compound retrievers below the root hide
            theirs.
    """
    if not explains:
        return [tail(root)]
    return [query for child in root.children if not child.children for query in child.matches()]


def _ranked(evaluated: EvaluatedRetriever) -> bytes:
    """Return a query for the documents that a compound retriever ranked.

    It includes the queries of the retrievers below only because of their names.
    """
    clauses = {
        "filter": array([any_of(evaluated.docs)]),
        "should": array([explainable(evaluated)]),
        "minimum_should_match": b"0",
    }
    return boolean(clauses, evaluated.retriever.name)
