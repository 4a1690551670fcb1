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
from proxy.upstream import reading
from proxy.xcontent.java_numbers import print_float

_Key = tuple[str, str]
_Hit = dict[str, bytes]
_NESTED: Final = b"FieldExistsQuery [field=_primary_term]"


async def explained(
    hits: bytes, root: Found, pit: bytes, search: Search, printer: Printer, final: bytes
) -> bytes:
    """The `hits` object of the final answer with native's explanations in it.

    Args:
        search: Sends one more search for each `standard` retriever of the tree.
        printer: Of the answer, in which `hits` stands at depth 1.
        final: The body of the final search.
    """
    with reading(AN_INNER_SEARCH):
        outer = members(hits)
        shown = [*map(members, elements(outer["hits"]))]
    keys = await _keys(shown, final, search)
    ranked = {(doc.index, doc.id) for doc in root.docs}
    # Of a document that is not ranked native tells how many of the ranked ones are on its shard.
    docs = [doc for doc in root.docs if (doc.index, doc.id) in keys or not ranked.issuperset(keys)]
    tree = await _explain_leaves(root, docs, pit, search)
    with reading(AN_INNER_SEARCH):
        await offload(len(hits), _explain_hits, tree, [*zip(keys, shown, strict=True)], printer)
    outer["hits"] = printer.array([printer.object(hit, 3) for hit in shown], 2)
    return printer.object(outer, 1)


async def _keys(hits: Sequence[_Hit], final: bytes, search: Search) -> Sequence[_Key]:
    """Which document each hit is. Where the client wants nothing that is stored, hits do not say, and the
    same page is searched for once more.
    """
    identified = hits
    if not all("_id" in hit for hit in hits):
        answer = (await search(bodies.identifying_search(final))).body
        with reading(AN_INNER_SEARCH):
            identified = [*map(members, elements(members(members(answer)["hits"])["hits"]))]
    with reading(AN_INNER_SEARCH):
        keys = [*map(_key, identified)]
        if [text(hit["_index"]) for hit in hits] != [index for index, _ in keys]:
            raise ValueError("another page")
    return keys


def _explain_hits(tree: "_Node", shown: Sequence[tuple[_Key, _Hit]], printer: Printer) -> None:
    shards = _shards(tree, shown)
    for key, hit in shown:
        hit["_explanation"] = _of_hit(tree, key, hit, shards).printed(printer, 4)


@dataclass(slots=True)
class _Node:
    """An evaluated retriever; of a `standard` one, `hits` are the documents with upstream's explanations.

    Attributes:
        normalized: Of a `linear` one: what it made of each child's scores.
    """

    found: Found
    children: "Sequence[_Node]"
    hits: Mapping[_Key, _Hit]
    ranks: Mapping[_Key, int] = field(init=False)
    normalized: Sequence[Float32s] | None = None

    def __post_init__(self) -> None:
        self.ranks = {(doc.index, doc.id): rank for rank, doc in enumerate(self.found.docs)}


async def _explain_leaves(found: Found, docs: Sequence[RankDoc], pit: bytes, search: Search) -> _Node:
    if isinstance(found.retriever, StandardRetriever) and docs:
        body = bodies.explaining_search(pit, queries.matching(found.retriever), docs)
        answer = (await search(body)).body
        with reading(AN_INNER_SEARCH):
            hits = [members(hit) for hit in elements(members(members(answer)["hits"])["hits"])]
            return _Node(found, (), {_key(hit): hit for hit in hits})
    children = await asyncio.gather(*(_explain_leaves(each, docs, pit, search) for each in found.children))
    return _Node(found, children, {})


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
    if not node.children:
        similarity = print_float(doc.score).decode()
        details = [Explanation(doc.score, f"found vector with calculated similarity: {similarity}")]
    if isinstance(retriever, DiversifyRetriever):
        rank = node.children[0].ranks[key]
    explanation = explanations.rank_doc(doc.shard_doc or 0, doc.score, rank + 1, details)
    if isinstance(retriever, PinnedRetriever) and doc.score > MAX_ORGANIC_SCORE:
        return explanations.pinned(doc.score, explanation)
    return explanation


def _rank(child: _Node, key: _Key, window: int) -> int | None:
    rank = child.ranks.get(key)
    return None if rank is None or rank >= window else rank + 1


def _of_linear(
    retriever: LinearRetriever, node: _Node, key: _Key, doc: RankDoc, sources: Sequence[Source]
) -> Explanation:
    if node.normalized is None:
        children = zip(retriever.components, node.children, strict=True)
        node.normalized = [
            normalize_list(child.found.docs[: retriever.rank_window_size], component.normalizer)
            for component, child in children
        ]
    normalized = []
    for scores, child in zip(node.normalized, node.children, strict=True):
        rank = _rank(child, key, len(scores))
        normalized.append(0.0 if rank is None else float(scores[rank - 1]))
    weights = [component.weight for component in retriever.components]
    normalizers = [component.normalizer for component in retriever.components]
    return explanations.linear(doc.score, weights, normalizers, normalized, sources)


def _shards(root: _Node, shown: Sequence[tuple[_Key, _Hit]]) -> Mapping[bytes, int]:
    """How many ranked documents each shard has, by its printed name."""
    hits = [(key, hit) for node in _walk(root) for key, hit in node.hits.items()]
    names = {key: hit["_shard"] for key, hit in [*hits, *shown]}
    return Counter(names[key] for key in root.ranks if key in names)


def _walk(node: _Node) -> Sequence[_Node]:
    return [node, *(each for child in node.children for each in _walk(child))]
