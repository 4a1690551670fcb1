"""What the evaluation of a tree does for its retrievers, and what it has to know of one that reranks."""

from collections.abc import Sequence
from typing import Protocol

from rerank_proxy.chunks.settings import ChunkRescorer
from rerank_proxy.search.ranks.ranking import RankDoc


class Reranking(Protocol):
    """What the rank phase is told (``TextSimilarityRankBuilder``)."""

    @property
    def inference_id(self) -> str: ...
    @property
    def inference_text(self) -> str: ...
    @property
    def field(self) -> str: ...
    @property
    def rank_window_size(self) -> int: ...
    @property
    def min_score(self) -> float | None: ...
    @property
    def allow_rerank_failures(self) -> bool | None: ...
    @property
    def chunk_rescorer(self) -> ChunkRescorer | None: ...
    @property
    def child_collapses(self) -> bool: ...


class Evaluator(Protocol):
    """What the evaluation of a tree does for its retrievers."""

    async def texts(self, docs: Sequence[RankDoc], field: str) -> Sequence[RankDoc]:
        """Return the documents with the first value of a field as their text."""

    async def vectors(self, docs: Sequence[RankDoc], field: str) -> Sequence[Sequence[float] | None]:
        """Return the vector of each document in a field."""

    async def rerank(self, reranker: Reranking, docs: Sequence[RankDoc]) -> Sequence[RankDoc]:
        """Return documents that have their text in the order of their relevance."""

    def pass_over(self, reranker: Reranking) -> None:
        """Note that a reranker has nothing to rank."""
