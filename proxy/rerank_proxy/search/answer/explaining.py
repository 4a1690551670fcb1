"""`explain: true`: hits explained by the tree of retrievers, down to upstream's own words on its queries."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from rerank_proxy.concurrency.offload import docs_size, offload
from rerank_proxy.search.answer import explanations, rank_docs
from rerank_proxy.search.answer.explanations import Detail, Explanation, Source
from rerank_proxy.search.evaluation import Search
from rerank_proxy.search.inner import bodies, queries
from rerank_proxy.search.inner.matches import Found
from rerank_proxy.search.language.retrievers import (
    DiversifyRetriever,
    KnnRetriever,
    LinearRetriever,
    PinnedRetriever,
    RrfRetriever,
    StandardRetriever,
    TextSimilarityReranker,
)
from rerank_proxy.search.ranks.fusion import normalize_list
from rerank_proxy.search.ranks.pins import MAX_ORGANIC_SCORE
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.ranks.scores import Float32s
from rerank_proxy.search.run import AN_INNER_SEARCH, Run
from rerank_proxy.upstream.protocol import Reply, reading
from rerank_proxy.xcontent.java_numbers import print_float
from rerank_proxy.xcontent.splicing import Printer, elements, members, text

_Key = tuple[str, str]
_Hit = dict[str, bytes]
_SUM: Final = "sum of:"
_NESTED: Final = b"FieldExistsQuery [field=_primary_term]"


async def explained(
    hits: bytes, root: Found, run: Run, pit: bytes, search: Search, printer: Printer, final: bytes
) -> bytes:
    """The `hits` object of the final answer with native's explanations in it.

    Args:
        search: Sends one more search for each leaf of the tree.
        printer: Of the answer, in which `hits` stands at depth 1.
        final: The body of the final search.
    """
    with reading(AN_INNER_SEARCH):
        outer, shown = await offload(len(hits), _page, hits)
    keys = await _keys(shown, final, search)
    docs = await offload(docs_size(root.docs), _told_of, root.docs, set(keys))
    boosts = await _boosts(run.request.others.get("indices_boost"), docs, pit, search)
    groups: dict[float, list[RankDoc]] = {}
    for doc in docs:
        groups.setdefault(boosts.get(doc.index, 1.0), []).append(doc)
    profiles = run.request.asks("profile")

    async def explain(query: bytes) -> Mapping[_Key, _Hit]:
        """Those of the documents that a query matches, with what upstream says of it."""
        searches = (
            bodies.explaining_search(pit, query, group, boost=boost, profiles=profiles)
            for boost, group in groups.items()
        )
        answers = await asyncio.gather(*map(search, searches))
        with reading(AN_INNER_SEARCH):
            return await offload(sum(len(answer.body) for answer in answers), _matching, answers)

    tree = await _explain_leaves(root, explain)
    with reading(AN_INNER_SEARCH):
        page = [*zip(keys, shown, strict=True)]
        outer["hits"] = await offload(len(hits), _explain_hits, tree, boosts, page, run.windows, printer)
    return printer.object(outer, 1)


def _page(hits: bytes) -> tuple[_Hit, list[_Hit]]:
    outer = members(hits)
    return outer, [*map(members, elements(outer["hits"]))]


def _matching(answers: Sequence[Reply]) -> Mapping[_Key, _Hit]:
    told = ((hit, _rescoring(hit["_explanation"])) for answer in answers for hit in _hits(answer))
    return {_key(hit): {**hit, "_explanation": own} for hit, own in told if own is not None}


def _told_of(ranked: Sequence[RankDoc], page: Set[_Key]) -> Sequence[RankDoc]:
    """The ranked documents of a page; all of them where it has a document that is not ranked, of which native
    tells how many of the ranked ones are on its shard.
    """
    shown = [doc for doc in ranked if (doc.index, doc.id) in page]
    return shown if len({(doc.index, doc.id) for doc in shown}) == len(page) else ranked


async def _keys(hits: Sequence[_Hit], final: bytes, search: Search) -> Sequence[_Key]:
    """Which document each hit is. Where the client wants nothing that is stored, hits do not say, and the
    same page is searched for once more.
    """
    identified = hits
    if not all("_id" in hit for hit in hits):
        answer = await search(bodies.identifying_search(final))
        with reading(AN_INNER_SEARCH):
            identified = _hits(answer)
    with reading(AN_INNER_SEARCH):
        keys = [*map(_key, identified)]
        if [text(hit["_index"]) for hit in hits] != [index for index, _ in keys]:
            raise ValueError("another page")
    return keys


async def _boosts(
    indices_boost: bytes | None, docs: Sequence[RankDoc], pit: bytes, search: Search
) -> Mapping[str, float]:
    """What `indices_boost` makes of the scores of leaves; those of ranked documents it leaves alone."""
    if indices_boost is None or not docs:
        return {}
    answer = await search(bodies.boosting_search(pit, indices_boost, docs))
    with reading(AN_INNER_SEARCH):
        return {text(hit["_index"]): float(hit["_score"]) for hit in _hits(answer)}


def _hits(answer: Reply) -> Sequence[_Hit]:
    return [members(hit) for hit in elements(members(members(answer.body)["hits"])["hits"])]


def _explain_hits(
    tree: "_Node",
    boosts: Mapping[str, float],
    shown: Sequence[tuple[_Key, _Hit]],
    windows: rank_docs.Windows,
    printer: Printer,
) -> bytes:
    """The hits of the page, as an array."""
    shards = _shards(tree, shown)
    for key, hit in shown:
        detail = _explain(tree, key, boosts.get(key[0], 1.0))
        hit["_explanation"] = _of_hit(tree, detail, hit, shards, windows).printed(printer, 4)
    return printer.array([printer.object(hit, 3) for _, hit in shown], 2)


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


async def _explain_leaves(found: Found, explain: Callable[[bytes], Awaitable[Mapping[_Key, _Hit]]]) -> _Node:
    query = _explainable(found)
    if query is None:
        children = await asyncio.gather(*(_explain_leaves(each, explain) for each in found.children))
        return _Node(found, children, {})
    return _Node(found, (), await explain(query))


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
    if text(node["description"]) != _SUM:
        return None
    _, product = map(members, elements(node["details"]))
    return elements(product["details"])[0]


def _key(hit: _Hit) -> _Key:
    return text(hit["_index"]), text(hit["_id"])


def _of_hit(
    root: _Node,
    detail: Detail | None,
    hit: _Hit,
    shards: Mapping[bytes, Sequence[RankDoc]],
    windows: rank_docs.Windows,
) -> Explanation:
    narrowed = _NESTED in hit["_explanation"]
    if isinstance(detail, Explanation):
        return explanations.without_nested(float(hit["_score"]), detail) if narrowed else detail
    docs = shards.get(hit["_shard"], ())
    detail = explanations.not_ranked(len(docs))
    if narrowed:
        return explanations.tail_without_nested(rank_docs.printed(root.found, docs, windows), detail)
    return detail


def _explain(node: _Node, key: _Key, boost: float) -> Detail | None:
    """What a retriever says of a document; None where it did not find it.

    Args:
        boost: Of the document's index, which only leaves know.
    """
    retriever = node.found.retriever
    if isinstance(retriever, StandardRetriever):
        return node.hits[key]["_explanation"] if key in node.hits else None
    rank = node.ranks.get(key)
    if rank is None:
        return None
    doc = node.found.docs[rank]
    sources = [Source(_explain(child, key, boost), child.found.retriever.name) for child in node.children]
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
        details = [_of_vector(retriever, doc, boost)]
    if isinstance(retriever, DiversifyRetriever):
        rank = node.children[0].ranks[key]
    explanation = explanations.rank_doc(doc.shard_doc or 0, doc.score, rank + 1, details)
    if isinstance(retriever, PinnedRetriever) and doc.score > MAX_ORGANIC_SCORE:
        return explanations.pinned(doc.score, explanation)
    filters = _of_filters(node.hits[key]["_explanation"]) if key in node.hits else ()
    return Explanation(doc.score, _SUM, (explanation, *filters)) if filters else explanation


def _of_filters(explanation: bytes) -> Sequence[bytes]:
    """Of what `queries.among` made of a vector search; none of filters that turn out to match all."""
    node = members(explanation)
    return elements(node["details"])[1:] if text(node["description"]) == _SUM else ()


def _of_vector(retriever: KnnRetriever, doc: RankDoc, boost: float) -> Explanation:
    """(``DenseVectorQuery``, ``VectorSimilarityQuery``.)"""
    score = doc.score if doc.first_score is None else doc.first_score
    boosted = float(np.float32(score) * np.float32(boost))
    found = Explanation(score, f"found vector with calculated similarity: {print_float(score).decode()}")
    if "similarity" not in retriever.section:
        return replace(found, value=boosted)
    return Explanation(boosted, "vector similarity within limit", (found,))


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


def _shards(root: _Node, shown: Sequence[tuple[_Key, _Hit]]) -> Mapping[bytes, Sequence[RankDoc]]:
    """The ranked documents of each shard, by its printed name."""
    hits = [(key, hit) for node in _walk(root) for key, hit in node.hits.items()]
    names = {key: hit["_shard"] for key, hit in [*hits, *shown]}
    shards: dict[bytes, list[RankDoc]] = {}
    for doc in root.found.docs:
        if (doc.index, doc.id) in names:
            shards.setdefault(names[doc.index, doc.id], []).append(doc)
    return shards


def _walk(node: _Node) -> Sequence[_Node]:
    return [node, *(each for child in node.children for each in _walk(child))]
