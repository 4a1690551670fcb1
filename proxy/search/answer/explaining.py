"""`explain: true`: hits explained by the tree of retrievers, down to upstream's own words on its queries."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from proxy.offload import offload
from proxy.search.answer import explanations
from proxy.search.answer.explanations import Detail, Explanation, Source
from proxy.search.evaluation import Search
from proxy.search.inner import bodies, queries
from proxy.search.inner.found import Found
from proxy.search.language.retrievers import (
    DiversifyRetriever,
    KnnRetriever,
    LinearRetriever,
    PinnedRetriever,
    RrfRetriever,
    StandardRetriever,
    TextSimilarityReranker,
)
from proxy.search.ranks.fusion import normalize_list
from proxy.search.ranks.pins import MAX_ORGANIC_SCORE
from proxy.search.ranks.ranking import RankDoc
from proxy.search.ranks.scores import Float32s
from proxy.search.rawjson import Printer, elements, members, text
from proxy.search.run import AN_INNER_SEARCH
from proxy.upstream import Reply, reading
from proxy.xcontent.java_numbers import print_float

_Key = tuple[str, str]
_Hit = dict[str, bytes]
_NESTED: Final = b"FieldExistsQuery [field=_primary_term]"


async def explained(
    hits: bytes, root: Found, pit: bytes, search: Search, printer: Printer, *, profiles: bool = False
) -> bytes:
    """The `hits` object of the final answer with native's explanations in it.

    Args:
        profiles: As for `explaining_search`.
        search: Sends one more search for each `standard` retriever of the tree.
        printer: Of the answer, in which `hits` stands at depth 1.
    """
    with reading(AN_INNER_SEARCH):
        outer = members(hits)
        shown = {_key(hit): hit for hit in map(members, elements(outer["hits"]))}
    ranked = {(doc.index, doc.id) for doc in root.docs}
    # Of a document that is not ranked native tells how many of the ranked ones are on its shard.
    docs = [doc for doc in root.docs if (doc.index, doc.id) in shown or not ranked.issuperset(shown)]

    async def explain(query: bytes) -> Reply:
        return await search(bodies.explaining_search(pit, query, docs, profiles=profiles))

    tree = await _explain_leaves(root, explain if docs else None)
    with reading(AN_INNER_SEARCH):
        await offload(len(hits), _explain_hits, tree, shown, printer)
    outer["hits"] = printer.array([printer.object(hit, 3) for hit in shown.values()], 2)
    return printer.object(outer, 1)


def _explain_hits(tree: "_Node", shown: Mapping[_Key, _Hit], printer: Printer) -> None:
    shards = _shards(tree, shown)
    for key, hit in shown.items():
        hit["_explanation"] = _of_hit(tree, key, hit, shards).printed(printer, 4)


@dataclass(slots=True)
class _Node:
    """An evaluated retriever.

    Attributes:
        hits: Of a leaf: the documents with upstream's explanations of its query, or of its filters.
        normalized: Of a `linear` one: what it made of each child's scores.
    """

    found: Found
    children: "Sequence[_Node]"
    hits: Mapping[_Key, _Hit]
    ranks: Mapping[_Key, int] = field(init=False)
    normalized: Sequence[Float32s] | None = None

    def __post_init__(self) -> None:
        self.ranks = {(doc.index, doc.id): rank for rank, doc in enumerate(self.found.docs)}


async def _explain_leaves(found: Found, explain: Search | None) -> _Node:
    """
    Args:
        explain: Searches for what upstream says of a query and the documents to explain; None without any.
    """
    query = _explainable(found)
    if query is None or explain is None:
        children = await asyncio.gather(*(_explain_leaves(each, explain) for each in found.children))
        return _Node(found, children, {})
    answer = (await explain(query)).body
    with reading(AN_INNER_SEARCH):
        hits = [members(hit) for hit in elements(members(members(answer)["hits"])["hits"])]
        told = {_key(hit): (hit, _rescoring(hit["_explanation"])) for hit in hits}
    matching = {key: {**hit, "_explanation": own} for key, (hit, own) in told.items() if own is not None}
    return _Node(found, (), matching)


def _explainable(found: Found) -> bytes | None:
    """What only upstream can explain of a retriever."""
    retriever = found.retriever
    if isinstance(retriever, StandardRetriever):
        return queries.matching(retriever)
    if isinstance(retriever, KnnRetriever) and retriever.filters and found.docs:
        return queries.among(retriever.filters, found.docs)
    return None


def _rescoring(explanation: bytes) -> bytes | None:
    """What a document's explanation says of the query that rescored it; None where that does not match.

    (``QueryRescorer#explain``: the sum of two products, the second of the query's score and its weight.)
    """
    node = members(explanation)
    if text(node["description"]) != "sum of:":
        return None
    _, product = map(members, elements(node["details"]))
    return elements(product["details"])[0]


def _key(hit: _Hit) -> _Key:
    return text(hit["_index"]), text(hit["_id"])


def _of_hit(root: _Node, key: _Key, hit: _Hit, shards: Mapping[bytes, int]) -> Explanation:
    detail = _explain(root, key)
    if not isinstance(detail, Explanation):
        return explanations.not_ranked(shards.get(hit["_shard"], 0))
    if _NESTED in hit["_explanation"]:
        return explanations.without_nested(float(hit["_score"]), detail)
    return detail


def _explain(node: _Node, key: _Key) -> Detail | None:
    """What a retriever says of a document; None where it did not find it."""
    retriever = node.found.retriever
    if isinstance(retriever, StandardRetriever):
        return node.hits[key]["_explanation"] if key in node.hits else None
    rank = node.ranks.get(key)
    if rank is None:
        return None
    doc = node.found.docs[rank]
    sources = [Source(_explain(child, key), child.found.retriever.name) for child in node.children]
    if isinstance(retriever, TextSimilarityReranker):
        chunks = None if retriever.chunk_rescorer is None else retriever.chunk_rescorer.size
        inference_id, text_field = retriever.inference_id, retriever.field
        return explanations.text_similarity(doc.score, inference_id, text_field, sources[0], chunks)
    if isinstance(retriever, RrfRetriever):
        ranks = [_rank(child, key, retriever.rank_window_size) for child in node.children]
        return explanations.rrf(doc.score, retriever.rank_constant, ranks, sources)
    if isinstance(retriever, LinearRetriever):
        return _of_linear(retriever, node, key, doc, sources)
    details = [source.explanation for source in sources if source.explanation is not None]
    if isinstance(retriever, KnnRetriever):
        details = [_of_vector(retriever, doc)]
    if isinstance(retriever, DiversifyRetriever):
        rank = node.children[0].ranks[key]
    explanation = explanations.rank_doc(doc.shard_doc or 0, doc.score, rank + 1, details)
    if isinstance(retriever, PinnedRetriever) and doc.score > MAX_ORGANIC_SCORE:
        return explanations.pinned(doc.score, explanation)
    if key in node.hits:  # a vector search with filters
        _, *filters = elements(members(node.hits[key]["_explanation"])["details"])
        return Explanation(doc.score, "sum of:", (explanation, *filters))
    return explanation


def _of_vector(retriever: KnnRetriever, doc: RankDoc) -> Explanation:
    """(``ExactKnnQueryBuilder``, ``VectorSimilarityQuery``.)"""
    score = doc.score if doc.first_score is None else doc.first_score
    found = Explanation(score, f"found vector with calculated similarity: {print_float(score).decode()}")
    if "similarity" not in retriever.section:
        return found
    return Explanation(score, "vector similarity within limit", (found,))


def _rank(child: _Node, key: _Key, window: int) -> int | None:
    rank = child.ranks.get(key)
    return None if rank is None or rank >= window else rank + 1


def _of_linear(
    retriever: LinearRetriever, node: _Node, key: _Key, doc: RankDoc, sources: Sequence[Source]
) -> Explanation:
    if node.normalized is None:
        children = zip(retriever.components, node.children, strict=True)
        node.normalized = [
            normalize_list(child.found.first(retriever.rank_window_size), component.normalizer)
            for component, child in children
        ]
    normalized = []
    for scores, child in zip(node.normalized, node.children, strict=True):
        rank = _rank(child, key, len(scores))
        normalized.append(0.0 if rank is None else float(scores[rank - 1]))
    weights = [component.weight for component in retriever.components]
    normalizers = [component.normalizer for component in retriever.components]
    return explanations.linear(doc.score, weights, normalizers, normalized, sources)


def _shards(root: _Node, shown: Mapping[_Key, _Hit]) -> Mapping[bytes, int]:
    """How many ranked documents each shard has, by its printed name."""
    hits = [(key, hit) for node in _walk(root) for key, hit in node.hits.items()]
    names = {key: hit["_shard"] for key, hit in [*hits, *shown.items()]}
    return Counter(names[key] for key in root.ranks if key in names)


def _walk(node: _Node) -> Sequence[_Node]:
    return [node, *(each for child in node.children for each in _walk(child))]
