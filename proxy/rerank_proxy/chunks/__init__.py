"""`chunk_rescorer`: which parts of a long text are sent to the model instead of the whole.

A text is cut into chunks (`chunkers`), the chunks are ranked by BM25 for the query text (`bm25`), and the
best are taken (`selection`). Nothing here does input or output.
"""

from rerank_proxy.chunks.grammar import parse_chunk_rescorer
from rerank_proxy.chunks.selection import ChunkSelector
from rerank_proxy.chunks.settings import (
    ChunkingSettings,
    ChunkRescorer,
    NoneChunkingSettings,
    RecursiveChunkingSettings,
    SentenceBoundaryChunkingSettings,
    WordBoundaryChunkingSettings,
    default_chunking,
    default_window_words,
)

__all__ = [
    "ChunkRescorer",
    "ChunkSelector",
    "ChunkingSettings",
    "NoneChunkingSettings",
    "RecursiveChunkingSettings",
    "SentenceBoundaryChunkingSettings",
    "WordBoundaryChunkingSettings",
    "default_chunking",
    "default_window_words",
    "parse_chunk_rescorer",
]
