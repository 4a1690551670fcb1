"""``RankDocsQuery`` and its documents as native prints them."""

from collections.abc import Mapping, Sequence

from proxy.chunks import default_chunking
from proxy.chunks.settings import ChunkRescorer
from proxy.search.inner.found import Found
from proxy.search.language.retrievers import TextSimilarityReranker
from proxy.search.ranks.ranking import RankDoc
from proxy.xcontent.java_numbers import print_float

Windows = Mapping[str, int]
"""The words that the models of endpoints read, as far as endpoints were asked for."""


def printed(root: Found, docs: Sequence[RankDoc], windows: Windows) -> str:
    """What stands behind the name of a query, for those of its documents that are on one shard."""
    ranks = {(doc.index, doc.id): rank for rank, doc in enumerate(root.docs, 1)}
    ordered = sorted(docs, key=lambda doc: doc.shard_doc or 0)
    shown = [_printed(root, doc, ranks[doc.index, doc.id], windows) for doc in ordered]
    return f"{{rank_docs:[{', '.join(shown)}]}}"


def _printed(root: Found, doc: RankDoc, rank: int, windows: Windows) -> str:
    """``RankDoc#toString``, ``TextSimilarityRankDoc#toString``."""
    shard, number = divmod(doc.shard_doc or 0, 1 << 32)
    score = print_float(doc.score).decode()
    retriever = root.retriever
    if isinstance(retriever, TextSimilarityReranker):
        chunks = _chunks(retriever.chunk_rescorer, windows.get(retriever.inference_id))
        return (
            f"TextSimilarityRankDoc{{doc={number}, shardIndex={shard}, score={score}, "
            f"inferenceId={retriever.inference_id}, field={retriever.field}, chunkScorerConfig={chunks}}}"
        )
    return f"RankDoc{{_rank={rank}, _doc={number}, _shard={shard}, _score={score}}}"


def _chunks(rescorer: ChunkRescorer | None, window_words: int | None) -> str:
    """``ChunkScorerConfig#toString``; it has lost the text by then."""
    if rescorer is None:
        return "null"
    settings = rescorer.chunking
    if settings is None and window_words is not None:
        settings = default_chunking(window_words)
    shown = "null" if settings is None else settings.printed()
    return f"ChunkScorerConfig{{size={rescorer.size}, inferenceText=[null], chunkingSettings={shown}}}"
