"""Print ``RankDocsQuery`` and its documents as native does."""

from collections.abc import Sequence
from typing import Any

from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.retrievers.retriever import EvaluatedRetriever, Windows


def printed(root: EvaluatedRetriever, docs: Sequence[RankDoc], windows: Windows) -> str:
    """Print the documents of a query that are on one shard, as they stand behind the name of the query."""
    ranks = {(doc.index, doc.id): rank for rank, doc in enumerate(root.docs, 1)}
    ordered = sorted(docs, key=lambda doc: doc.shard_doc or 0)
    shown = [root.retriever.print_doc(doc, ranks[doc.index, doc.id], windows) for doc in ordered]
    return f"{{rank_docs:[{', '.join(shown)}]}}"


def as_query(root: EvaluatedRetriever, windows: Windows) -> dict[str, Any]:
    """Return the query with all ranked documents as JSON (``RankDocsQueryBuilder#doXContent``)."""
    docs = [root.retriever.doc_as_json(doc, rank, windows) for rank, doc in enumerate(root.docs, 1)]
    return {"rank_docs_query": {"rank_docs": docs}}
