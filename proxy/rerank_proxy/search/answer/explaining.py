"""`explain: true`: hits explained by the tree of retrievers, down to upstream's own words on its queries."""

from collections.abc import Callable, Coroutine, Mapping, Sequence, Set
from typing import Any, Final

from rerank_proxy.concurrency.offload import docs_size, offload
from rerank_proxy.concurrency.tasks import side_by_side
from rerank_proxy.search.answer import rank_docs
from rerank_proxy.search.inner import bodies
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.retrievers import explanations
from rerank_proxy.search.retrievers.explanations import SUM, Detail, Explanation
from rerank_proxy.search.retrievers.retriever import Explained, Found, Hit, Key, LeafRetriever, Windows
from rerank_proxy.search.run import AN_INNER_SEARCH, InnerSearch, Run
from rerank_proxy.upstream.protocol import Reply, reading
from rerank_proxy.xcontent.splicing import Printer, elements, members, text

_NESTED: Final = b"FieldExistsQuery [field=_primary_term]"


async def explained(
    hits: bytes, root: Found, run: Run, pit: bytes, search: InnerSearch, printer: Printer, final: bytes
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

    async def explain(query: bytes) -> Mapping[Key, Hit]:
        """Those of the documents that a query matches, with what upstream says of it."""
        searches = (
            bodies.explaining_search(pit, query, group, boost=boost, profiles=profiles)
            for boost, group in groups.items()
        )
        answers = await side_by_side(map(search, searches))
        with reading(AN_INNER_SEARCH):
            return await offload(sum(len(answer.body) for answer in answers), _matching, answers)

    tree = await _explain_leaves(root, explain)
    with reading(AN_INNER_SEARCH):
        page = [*zip(keys, shown, strict=True)]
        outer["hits"] = await offload(len(hits), _explain_hits, tree, boosts, page, run.windows, printer)
    return printer.object(outer, 1)


def _page(hits: bytes) -> tuple[Hit, list[Hit]]:
    outer = members(hits)
    return outer, [*map(members, elements(outer["hits"]))]


def _matching(answers: Sequence[Reply]) -> Mapping[Key, Hit]:
    told = ((hit, _rescoring(hit["_explanation"])) for answer in answers for hit in _hits(answer))
    return {_key(hit): {**hit, "_explanation": own} for hit, own in told if own is not None}


def _told_of(ranked: Sequence[RankDoc], page: Set[Key]) -> Sequence[RankDoc]:
    """The ranked documents of a page; all of them where it has a document that is not ranked, of which native
    tells how many of the ranked ones are on its shard.
    """
    shown = [doc for doc in ranked if (doc.index, doc.id) in page]
    return shown if len({(doc.index, doc.id) for doc in shown}) == len(page) else ranked


async def _keys(hits: Sequence[Hit], final: bytes, search: InnerSearch) -> Sequence[Key]:
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
    indices_boost: bytes | None, docs: Sequence[RankDoc], pit: bytes, search: InnerSearch
) -> Mapping[str, float]:
    """What `indices_boost` makes of the scores of leaves; those of ranked documents it leaves alone."""
    if indices_boost is None or not docs:
        return {}
    answer = await search(bodies.boosting_search(pit, indices_boost, docs))
    with reading(AN_INNER_SEARCH):
        return {text(hit["_index"]): float(hit["_score"]) for hit in _hits(answer)}


def _hits(answer: Reply) -> Sequence[Hit]:
    return [members(hit) for hit in elements(members(members(answer.body)["hits"])["hits"])]


def _explain_hits(
    tree: Explained,
    boosts: Mapping[str, float],
    shown: Sequence[tuple[Key, Hit]],
    windows: Windows,
    printer: Printer,
) -> bytes:
    """The hits of the page, as an array."""
    shards = _shards(tree, shown)
    for key, hit in shown:
        detail = tree.explain(key, boosts.get(key[0], 1.0))
        hit["_explanation"] = _of_hit(tree, detail, hit, shards, windows).printed(printer, 4)
    return printer.array([printer.object(hit, 3) for _, hit in shown], 2)


async def _explain_leaves(
    found: Found, explain: Callable[[bytes], Coroutine[Any, Any, Mapping[Key, Hit]]]
) -> Explained:
    if isinstance(found.retriever, LeafRetriever):
        query = found.retriever.explainable(found.docs)
        return Explained(found, (), {} if query is None else await explain(query))
    children = await side_by_side(_explain_leaves(each, explain) for each in found.children)
    return Explained(found, children, {})


def _rescoring(explanation: bytes) -> bytes | None:
    """What a document's explanation says of the query that rescored it; None where that does not match.

    (``QueryRescorer#explain``: the sum of two products, the second of the query's score and its weight.)
    """
    node = members(explanation)
    if text(node["description"]) != SUM:
        return None
    _, product = map(members, elements(node["details"]))
    return elements(product["details"])[0]


def _key(hit: Hit) -> Key:
    return text(hit["_index"]), text(hit["_id"])


def _of_hit(
    root: Explained,
    detail: Detail | None,
    hit: Hit,
    shards: Mapping[bytes, Sequence[RankDoc]],
    windows: Windows,
) -> Explanation:
    narrowed = _NESTED in hit["_explanation"]
    if isinstance(detail, Explanation):
        return explanations.without_nested(float(hit["_score"]), detail) if narrowed else detail
    docs = shards.get(hit["_shard"], ())
    detail = explanations.not_ranked(len(docs))
    if narrowed:
        return explanations.tail_without_nested(rank_docs.printed(root.found, docs, windows), detail)
    return detail


def _shards(root: Explained, shown: Sequence[tuple[Key, Hit]]) -> Mapping[bytes, Sequence[RankDoc]]:
    """The ranked documents of each shard, by its printed name."""
    hits = [(key, hit) for node in root.all() for key, hit in node.hits.items()]
    names = {key: hit["_shard"] for key, hit in [*hits, *shown]}
    shards: dict[bytes, list[RankDoc]] = {}
    for doc in root.found.docs:
        if (doc.index, doc.id) in names:
            shards.setdefault(names[doc.index, doc.id], []).append(doc)
    return shards
