"""Retrievers as plain data. Query clauses stay bytes, exactly as the client wrote them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

DEFAULT_INFERENCE_ID: Final = ".rerank-v1-elasticsearch"
DEFAULT_RANK_WINDOW_SIZE: Final = 10
TEXT_SIMILARITY_RERANKER: Final = "text_similarity_reranker"


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardRetriever:
    """A query, and what narrows or orders it."""

    query: bytes | None = None
    sort: bytes | None = None
    collapse: bytes | None = None
    search_after: bytes | None = None
    terminate_after: int = 0
    min_score: float | None = None
    filters: tuple[bytes, ...] = ()
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnnRetriever:
    """A vector search. `section`: the keys of the search body's `knn` section but `filter`, as written."""

    section: Mapping[str, bytes]
    min_score: float | None = None
    filters: tuple[bytes, ...] = ()
    name: str | None = None


LeafRetriever = StandardRetriever | KnnRetriever


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSimilarityReranker:
    """Reranks the first `rank_window_size` hits of `child` by how `field` answers `inference_text`."""

    child: LeafRetriever
    field: str
    inference_text: str
    inference_id: str = DEFAULT_INFERENCE_ID
    rank_window_size: int = DEFAULT_RANK_WINDOW_SIZE
    allow_rerank_failures: bool = False
    filters: tuple[bytes, ...] = ()
    min_score: float | None = None
    name: str | None = None
