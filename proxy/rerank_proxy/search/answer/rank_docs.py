"""``RankDocsQuery`` and its documents as native prints them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rerank_proxy.chunks import ChunkingSettings, ChunkRescorer, default_chunking
from rerank_proxy.search.inner.matches import Found
from rerank_proxy.search.language.retrievers import TextSimilarityReranker
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.xcontent.java_numbers import print_float

Windows = Mapping[str, int]
"""The words that the models of endpoints read, as far as endpoints were asked for."""


def printed(root: Found, docs: Sequence[RankDoc], windows: Windows) -> str:
    """What stands behind the name of a query, for those of its documents that are on one shard."""
    ranks = {(doc.index, doc.id): rank for rank, doc in enumerate(root.docs, 1)}
    ordered = sorted(docs, key=lambda doc: doc.shard_doc or 0)
    shown = [_printed(root, doc, ranks[doc.index, doc.id], windows) for doc in ordered]
    return f"{{rank_docs:[{', '.join(shown)}]}}"


def as_query(root: Found, windows: Windows) -> dict[str, Any]:
    """The query of all its documents in JSON (``RankDocsQueryBuilder#doXContent``)."""
    docs = [_as_json(root, doc, rank, windows) for rank, doc in enumerate(root.docs, 1)]
    return {"rank_docs_query": {"rank_docs": docs}}


def _as_json(root: Found, doc: RankDoc, rank: int, windows: Windows) -> dict[str, Any]:
    """``RankDoc#toXContent``, ``TextSimilarityRankDoc#doToXContent``; a reranker gives no ranks."""
    shard, number = divmod(doc.shard_doc or 0, 1 << 32)
    values: dict[str, Any] = {
        "_rank": rank,
        "_doc": number,
        "_shard": shard,
        "_score": float(print_float(doc.score)),
    }
    retriever = root.retriever
    if not isinstance(retriever, TextSimilarityReranker):
        return values
    values |= {"_rank": -1, "inferenceId": retriever.inference_id, "field": retriever.field}
    if retriever.chunk_rescorer is not None:
        settings = _chunking(retriever.chunk_rescorer, windows.get(retriever.inference_id))
        values["chunkScorerConfig"] = {
            "size": retriever.chunk_rescorer.size,
            "inference_text": None,
            **({} if settings is None else {"chunking_settings": settings.values()}),
        }
    return values


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
    settings = _chunking(rescorer, window_words)
    shown = "null"
    if settings is not None:
        shown = json.dumps(settings.values(), separators=(",", ":"), ensure_ascii=False)
    return f"ChunkScorerConfig{{size={rescorer.size}, inferenceText=[null], chunkingSettings={shown}}}"


def _chunking(rescorer: ChunkRescorer, window_words: int | None) -> ChunkingSettings | None:
    if rescorer.chunking is None and window_words is not None:
        return default_chunking(window_words)
    return rescorer.chunking
