"""What the retrievers of a tree found, and the documents that merely match."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from rerank_proxy.search.inner.queries import (
    any_of,
    array,
    boolean,
    disjunction,
    matching,
    pin,
    query,
    rank_docs,
)
from rerank_proxy.search.language.retrievers import (
    CompoundRetriever,
    DiversifyRetriever,
    KnnRetriever,
    LeafRetriever,
    LinearRetriever,
    PinnedRetriever,
    Retriever,
    RrfRetriever,
    RuleRetriever,
    StandardRetriever,
    TextSimilarityReranker,
)
from rerank_proxy.search.ranks.ranking import RankDoc, searched

_REFERENCE: Final = 8
"""Bytes for the place of a clause in a tuple: there may be a hundred thousand short ones."""


@dataclass(frozen=True, slots=True)
class Found:
    """A retriever, evaluated.

    Attributes:
        docs: Best first; at most the window of its own or, of a leaf, of its parent.
        children: In the order of the request; none of a leaf.
    """

    retriever: Retriever
    docs: Sequence[RankDoc] = ()
    children: "tuple[Found, ...]" = ()

    def all(self) -> Iterator["Found"]:
        """It and all below it."""
        yield self
        for child in self.children:
            yield from child.all()

    def first(self, window: int) -> Sequence[RankDoc]:
        """What a parent with this window has of it: of a compound retriever, what a search finds again."""
        if isinstance(self.retriever, LeafRetriever):
            return self.docs[:window]
        return searched(self.docs, window)

    @property
    def name(self) -> str:
        """What native calls it in failures: a compound one has become its documents by then."""
        return self.retriever.TYPE if isinstance(self.retriever, LeafRetriever) else "rank_docs_retriever"


def tail(root: Found) -> bytes:
    """All documents that match, ranked or not (``RankDocsRetrieverBuilder#topDocsQuery``).

    As there, the compound retrievers right below the root go without their names.
    """
    return disjunction(_matches(root, _matches))


def explainable(root: Found) -> bytes:
    """The same for a search that explains: of the compound retrievers below, only the documents that they
    ranked (``RankDocsRetrieverBuilder#explainQuery``).
    """
    return disjunction([_ranked(child) if child.children else tail(child) for child in root.children])


def highlightable(root: Found, *, explains: bool) -> Sequence[bytes]:
    """What of the leaves' queries a highlighter sees in ``RankDocsQuery``; where that explains, it does not
    look into the compound retrievers below the root.
    """
    if not explains:
        return [tail(root)]
    return [query for child in root.children if not child.children for query in _matches(child)]


def _ranked(found: Found) -> bytes:
    """What a compound retriever ranked; the queries below it take part for their names alone."""
    clauses = {
        "filter": array([any_of(found.docs)]),
        "should": array([explainable(found)]),
        "minimum_should_match": b"0",
    }
    return boolean(clauses, found.retriever.name)


def _matches(found: Found, of_child: Callable[[Found], list[bytes]] | None = None) -> list[bytes]:
    """
    Args:
        of_child: What a child's matches are; by default those of a retriever with its name.
    """
    retriever = found.retriever
    if isinstance(retriever, StandardRetriever):
        return [matching(retriever)]
    if isinstance(retriever, KnnRetriever):  # not searched again: it stands for just what it returned
        return [_returned(retriever, found.docs)]
    below = [each for child in found.children for each in (of_child or _named)(child)]
    if isinstance(retriever, PinnedRetriever):
        return [*map(pin, retriever.docs), *below]
    if isinstance(retriever, RuleRetriever):
        return [ruled(retriever, disjunction(below))]
    return below


def _returned(retriever: KnnRetriever, docs: Sequence[RankDoc]) -> bytes:
    """What a vector search returned, with its filters' names (``KnnRetrieverBuilder#topDocsQuery``)."""
    clauses = {"must": array([rank_docs(docs)])}
    if retriever.filters:
        clauses["filter"] = array(retriever.filters)
    return boolean(clauses, retriever.name)


def _named(found: Found) -> list[bytes]:
    matches = _matches(found)
    if not found.children or found.retriever.name is None:
        return matches
    return [boolean({"should": array(matches)}, found.retriever.name)] if matches else []


def ruled(retriever: RuleRetriever, organic: bytes) -> bytes:
    """Upstream's `rule` query around another (``RuleQueryBuilder``)."""
    clauses = {
        "organic": organic,
        "ruleset_ids": retriever.ruleset_ids,
        "match_criteria": retriever.match_criteria,
    }
    return query("rule", clauses)


def with_filters(retriever: CompoundRetriever, inherited: tuple[bytes, ...] = ()) -> CompoundRetriever:
    """The tree with all filters at its leaves, where they act (``CompoundRetrieverBuilder#rewrite``)."""
    filters = (*retriever.filters, *inherited)
    if isinstance(retriever, RrfRetriever | LinearRetriever):
        components = tuple(
            replace(component, retriever=_narrowed(component.retriever, filters))
            for component in retriever.components
        )
        return replace(retriever, components=components, filters=())
    return replace(retriever, child=_narrowed(retriever.child, filters), filters=())


def _narrowed(retriever: Retriever, filters: tuple[bytes, ...]) -> Retriever:
    if isinstance(retriever, LeafRetriever):
        return replace(retriever, filters=(*retriever.filters, *filters))
    return with_filters(retriever, filters)


def clauses_size(retriever: Retriever, inherited: int = 0) -> int:
    """The bytes of which the searches of all leaves will be made: each filter once for every leaf below it
    (`with_filters`), and so are the names of the fields that are read.

    Args:
        inherited: What each leaf has from elsewhere.
    """
    each = inherited + sum(len(clause) + _REFERENCE for clause in retriever.filters)
    if isinstance(retriever, KnnRetriever):
        return each + sum(map(len, retriever.section.values()))
    if isinstance(retriever, StandardRetriever):
        return each + len(retriever.query or b"")
    if isinstance(retriever, TextSimilarityReranker | DiversifyRetriever):
        each += len(retriever.field)
    return sum(clauses_size(child, each) for child in retriever.children)
