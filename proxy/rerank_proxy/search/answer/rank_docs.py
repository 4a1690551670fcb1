"""``RankDocsQuery`` and its documents as native prints them."""

from collections.abc import Sequence
from typing import Any

from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.retrievers.retriever import Found, Windows


def printed(root: Found, docs: Sequence[RankDoc], windows: Windows) -> str:
    """Return what stands behind the name of a query, for those of its documents that are on one shard."""
    ranks = {(doc.index, doc.id): rank for rank, doc in enumerate(root.docs, 1)}
    ordered = sorted(docs, key=lambda doc: doc.shard_doc or 0)
    shown = [root.retriever.print_doc(doc, ranks[doc.index, doc.id], windows) for doc in ordered]
    return f"{{rank_docs:[{', '.join(shown)}]}}"


def as_query(root: Found, windows: Windows) -> dict[str, Any]:
    """Return the query of all its documents in JSON (``RankDocsQueryBuilder#doXContent``)."""
    docs = [root.retriever.doc_as_json(doc, rank, windows) for rank, doc in enumerate(root.docs, 1)]
    return {"rank_docs_query": {"rank_docs": docs}}
