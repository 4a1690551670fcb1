"""The retrievers that are read: the one list of them."""

from typing import Final

from rerank_proxy.search.retrievers.diversify import DiversifyRetriever
from rerank_proxy.search.retrievers.grammar import Nesting
from rerank_proxy.search.retrievers.knn import KnnRetriever
from rerank_proxy.search.retrievers.linear import LinearRetriever
from rerank_proxy.search.retrievers.pinned import PinnedRetriever
from rerank_proxy.search.retrievers.rescorer import RescorerRetriever
from rerank_proxy.search.retrievers.retriever import CompoundRetriever, LeafRetriever, Retriever
from rerank_proxy.search.retrievers.rrf import RrfRetriever
from rerank_proxy.search.retrievers.rule import RuleRetriever
from rerank_proxy.search.retrievers.standard import StandardRetriever
from rerank_proxy.search.retrievers.text_similarity_reranker import TextSimilarityReranker

LEAVES: Final[tuple[type[LeafRetriever], ...]] = (StandardRetriever, KnnRetriever)
COMPOUNDS: Final[tuple[type[CompoundRetriever], ...]] = (
    TextSimilarityReranker,
    RrfRetriever,
    LinearRetriever,
    RescorerRetriever,
    PinnedRetriever,
    RuleRetriever,
    DiversifyRetriever,
)
_ALL: Final[tuple[type[Retriever], ...]] = (*LEAVES, *COMPOUNDS)

COMPOUND_TYPES: Final = frozenset(each.TYPE for each in COMPOUNDS)
RETRIEVER_TYPES: Final = frozenset(each.TYPE for each in _ALL)
TOPMOST: Final = Nesting({each.TYPE: each.parse for each in _ALL})
"""The level of the retriever of a body."""
