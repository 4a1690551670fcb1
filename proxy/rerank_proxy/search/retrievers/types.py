"""The retrievers that are read: the one list of them."""

from typing import Final

from rerank_proxy.search.retrievers.compound import CompoundRetriever
from rerank_proxy.search.retrievers.diversify import DiversifyRetriever
from rerank_proxy.search.retrievers.grammar import Nesting
from rerank_proxy.search.retrievers.knn import KnnRetriever
from rerank_proxy.search.retrievers.linear import LinearRetriever
from rerank_proxy.search.retrievers.pinned import PinnedRetriever
from rerank_proxy.search.retrievers.rescorer import RescorerRetriever
from rerank_proxy.search.retrievers.retriever import Retriever
from rerank_proxy.search.retrievers.rrf import RrfRetriever
from rerank_proxy.search.retrievers.rule import RuleRetriever
from rerank_proxy.search.retrievers.standard import StandardRetriever
from rerank_proxy.search.retrievers.text_similarity_reranker import TextSimilarityReranker


def _listed(*types: type[Retriever]) -> tuple[type[Retriever], ...]:
    """Return the types: as arguments, where the type check takes no class that lacks a method."""
    return types


RETRIEVERS: Final = _listed(
    StandardRetriever,
    KnnRetriever,
    TextSimilarityReranker,
    RrfRetriever,
    LinearRetriever,
    RescorerRetriever,
    PinnedRetriever,
    RuleRetriever,
    DiversifyRetriever,
)
RETRIEVER_TYPES: Final = frozenset(each.TYPE for each in RETRIEVERS)
COMPOUND_TYPES: Final = frozenset(each.TYPE for each in RETRIEVERS if issubclass(each, CompoundRetriever))
TOPMOST: Final = Nesting({each.TYPE: each.parse for each in RETRIEVERS})
"""The level of the retriever of a body."""
