"""`chunk_rescorer`: select the parts of a long text that are sent to the model instead of the whole.

A text is cut into chunks (`chunkers`), the chunks are ranked by BM25 for the query text (`bm25`), and the
best are taken (`selection`). All of it is pure, and done in steps on the threads of `LANE`.
"""

from typing import Final

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
from rerank_proxy.concurrency.turns import Turns

LANE: Final = Turns(2, "chunks")
"""The threads on which texts are cut, one set for all calls of the process. Python runs one thread at a time,
but lets another run while a separator is searched for."""

__all__ = [
    "LANE",
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
