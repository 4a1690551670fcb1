"""`explain: true`: explain hits by the tree of retrievers, down to upstream's explanations of its queries."""

from collections.abc import Callable, Coroutine, Mapping, Sequence, Set
from typing import Any, Final

from rerank_proxy.concurrency.offload import docs_size, offload
from rerank_proxy.concurrency.tasks import side_by_side
from rerank_proxy.observe import stages
from rerank_proxy.search.answer import rank_docs
from rerank_proxy.search.inner import bodies
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.retrievers import explanations
from rerank_proxy.search.retrievers.explanations import SUM, Detail, Explanation
from rerank_proxy.search.retrievers.retriever import (
    EvaluatedRetriever,
    ExplainedRetriever,
    Hit,
    Key,
    LeafRetriever,
    Windows,
)
from rerank_proxy.search.run import AN_INNER_SEARCH, InnerSearch, Run
from rerank_proxy.upstream.protocol import Reply, reading
from rerank_proxy.xcontent.splicing import Printer, elements, members, text

_Explain = Callable[[bytes], Coroutine[Any, Any, Mapping[Key, Hit]]]
"""Returns the documents that a query matches, with upstream's explanation of it."""
_NESTED: Final = b"FieldExistsQuery [field=_primary_term]"
"""A clause that Elasticsearch adds where a mapping has nested documents."""


async def with_explanations(
    hits: bytes,
    root: EvaluatedRetriever,
    run: Run,
    pit: bytes,
    search: InnerSearch,
    printer: Printer,
    final: bytes,
) -> bytes:
    """Return the `hits` object of the final answer with native's explanations.

    Args:
        hits: The object from upstream's answer.
        root: The evaluated tree.
        pit: The `pit` member of searches, as JSON.
        search: Sends an inner search: there is one for each leaf, and possibly some for the page.
        printer: Prints in the style of the answer, in which `hits` stands at depth 1.
        final: The body of the final search.
    """
    with reading(AN_INNER_SEARCH):
        outer, shown = await offload(len(hits), _page, hits)
    keys = await _keys(shown, final, search)
    docs = await offload(docs_size(root.docs), _docs_to_explain, root.docs, set(keys))
    boosts = await _boosts(run.request.opaque_members.get("indices_boost"), docs, pit, search)
    explain = _explaining(docs, boosts, pit, search, profiles=run.request.asks("profile"))
    tree = await _explain_leaves(root, explain)
    with reading(AN_INNER_SEARCH):
        page = [*zip(keys, shown, strict=True)]
        with stages.stage("splice"):
            outer["hits"] = await offload(len(hits), _explain_hits, tree, boosts, page, run.windows, printer)
    return printer.object(outer, 1)


def _explaining(
    docs: Sequence[RankDoc], boosts: Mapping[str, float], pit: bytes, search: InnerSearch, *, profiles: bool
) -> _Explain:
    """Return a function that has upstream explain a query.

    Args:
        docs: The documents to explain it for.
        boosts: The factors for scores, by index.
        profiles: Whether the client's search asks for a profile.
    """
    groups: dict[float, list[RankDoc]] = {}
    for doc in docs:
        groups.setdefault(boosts.get(doc.index, 1.0), []).append(doc)

    async def explain(query: bytes) -> Mapping[Key, Hit]:
        searches = (
            bodies.explaining_search(pit, query, group, boost=boost, profiles=profiles)
            for boost, group in groups.items()
        )
        answers = await side_by_side(map(search, searches))
        with reading(AN_INNER_SEARCH):
            return await offload(sum(len(answer.body) for answer in answers), _matching, answers)

    return explain


def _page(hits: bytes) -> tuple[Hit, list[Hit]]:
    outer = members(hits)
    return outer, [*map(members, elements(outer["hits"]))]


def _matching(answers: Sequence[Reply]) -> Mapping[Key, Hit]:
    explained = ((hit, _rescoring(hit["_explanation"])) for answer in answers for hit in _hits(answer))
    return {_key(hit): {**hit, "_explanation": own} for hit, own in explained if own is not None}


def _docs_to_explain(ranked: Sequence[RankDoc], page: Set[Key]) -> Sequence[RankDoc]:
    """Return the ranked documents of a page; all ranked documents if others are on the page.

    The explanation of a document that is not ranked says how many of the ranked ones are on its shard.
    """
    shown = [doc for doc in ranked if (doc.index, doc.id) in page]
    return shown if len({(doc.index, doc.id) for doc in shown}) == len(page) else ranked


async def _keys(hits: Sequence[Hit], final: bytes, search: InnerSearch) -> Sequence[Key]:
    """Return the index and the id of each hit.

    If the client asks for nothing that is stored, hits have no ids. Then search for the page once more.
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
    """Return the factors of `indices_boost` by index, which apply to leaves and not to ranked documents."""
    if indices_boost is None or not docs:
        return {}
    answer = await search(bodies.boosting_search(pit, indices_boost, docs))
    with reading(AN_INNER_SEARCH):
        return {text(hit["_index"]): float(hit["_score"]) for hit in _hits(answer)}


def _hits(answer: Reply) -> Sequence[Hit]:
    return [members(hit) for hit in elements(members(members(answer.body)["hits"])["hits"])]


def _explain_hits(
    tree: ExplainedRetriever,
    boosts: Mapping[str, float],
    shown: Sequence[tuple[Key, Hit]],
    windows: Windows,
    printer: Printer,
) -> bytes:
    """Return the array of the page's hits with their explanations."""
    shards = _shards(tree, shown)
    for key, hit in shown:
        detail = tree.explain(key, boosts.get(key[0], 1.0))
        hit["_explanation"] = _of_hit(tree, detail, hit, shards, windows).printed(printer, 4)
    return printer.array([printer.object(hit, 3) for _, hit in shown], 2)


async def _explain_leaves(evaluated: EvaluatedRetriever, explain: _Explain) -> ExplainedRetriever:
    if isinstance(evaluated.retriever, LeafRetriever):
        query = evaluated.retriever.explainable(evaluated.docs)
        return ExplainedRetriever(evaluated, (), {} if query is None else await explain(query))
    children = await side_by_side(_explain_leaves(each, explain) for each in evaluated.children)
    return ExplainedRetriever(evaluated, children, {})


def _rescoring(explanation: bytes) -> bytes | None:
    """Return the part of a document's explanation about the query that rescored it; None if it did not match.

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
    root: ExplainedRetriever,
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
        return explanations.tail_without_nested(rank_docs.printed(root.evaluated, docs, windows), detail)
    return detail


def _shards(root: ExplainedRetriever, shown: Sequence[tuple[Key, Hit]]) -> Mapping[bytes, Sequence[RankDoc]]:
    """Return the ranked documents of each shard, by the printed name of the shard."""
    hits = [(key, hit) for node in root.all() for key, hit in node.hits.items()]
    names = {key: hit["_shard"] for key, hit in [*hits, *shown]}
    shards: dict[bytes, list[RankDoc]] = {}
    for doc in root.evaluated.docs:
        if (doc.index, doc.id) in names:
            shards.setdefault(names[doc.index, doc.id], []).append(doc)
    return shards
