"""`profile: true`: rename the queries of the final search's profile as native does, and add the rerankers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from rerank_proxy.search.answer import rank_docs
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.retrievers.retriever import EvaluatedRetriever, Windows
from rerank_proxy.search.run import Run
from rerank_proxy.xcontent.splicing import Printer, elements, members, text

_NO_VECTORS: Final = "TopQuery{rank_docs:[]}"
"""A query that is known to match nothing, which is not profiled."""
_AN_ID: Final = "_id:["
"""The description of a query for documents by id begins like this. Native has no such query."""
_NESTED: Final = " #FieldExistsQuery [field=_primary_term]"
"""The description of the query ends like this if the mapping has nested documents."""


def profiled(profile: bytes, root: EvaluatedRetriever, run: Run, printer: Printer) -> bytes:
    """Return the `profile` object of the final answer.

    Native profiles only the final search, whose query it calls ``RankDocsQuery``. Beside its `shards` the
    proxy adds `reranker`: one entry for each reranker of the tree, as in the `X-Rerank` header.

    Args:
        profile: The object from upstream's answer.
        root: The evaluated tree.
        printer: Prints in the style of the answer, in which `profile` stands at depth 1.
    """
    sections = members(profile)
    shards = [members(shard) for shard in elements(sections["shards"])]
    place = 1 if "post_filter" in run.request.opaque_members else 0
    order = sorted(range(len(shards)), key=lambda at: _shard_order(shards[at]))
    for index, at in enumerate(order):
        native = _Native(root, index, run.windows)
        shards[at]["searches"] = _renamed(shards[at]["searches"], native, place, printer)
    sections["shards"] = printer.array([printer.object(shard, 3) for shard in shards], 2)
    if "request" in sections:
        sections["request"] = _request(sections["request"], rank_docs.as_query(root, run.windows), printer)
    if run.outcomes:
        sections["reranker"] = printer.value([outcome.profile() for outcome in run.outcomes], 2)
    return printer.object(sections, 1)


def _request(request: bytes, query: Mapping[str, Any], printer: Printer) -> bytes:
    """Return the `request` section, the search that was profiled (since 9.5), with native's query."""
    values = members(request)
    source = members(values["source"])
    if "query" in source:
        source["query"] = printer.value(query, 4)
    return printer.object({**values, "source": printer.object(source, 3)}, 2)


def _shard_order(shard: dict[str, bytes]) -> tuple[int, str]:
    """Return the key by which native sorts shards: their number, then their index (``ShardId#compareTo``)."""
    return int(shard["shard_id"]), text(shard["index"])


def _renamed(searches: bytes, native: "_Native", place: int, printer: Printer) -> bytes:
    """Return the searches of a shard's profile with their queries named as natively.

    Args:
        place: The index of the main query among the queries of a search: filters of hits come before it,
            those of aggregations after.
    """
    renamed = []
    for search in map(members, elements(searches)):
        queries = [*map(_read, elements(search["query"]))]
        queries[place] = native.query(queries[place])
        shown = (each for each in queries if not each.description.startswith(_AN_ID))
        search["query"] = printer.array([_printed(query, printer, 7) for query in shown], 6)
        renamed.append(printer.object(search, 5))
    return printer.array(renamed, 4)


@dataclass(frozen=True, slots=True)
class _Query:
    """A profiled query.

    Attributes:
        figures: The members with times and the like, as upstream printed them.
    """

    type: str
    description: str
    figures: Mapping[str, bytes]
    children: "Sequence[_Query]" = ()


def _read(query: bytes) -> _Query:
    values = members(query)
    children = [_read(child) for child in elements(values.pop("children", b"[]"))]
    return _Query(text(values.pop("type")), text(values.pop("description")), values, children)


def _printed(query: _Query, printer: Printer, depth: int) -> bytes:
    values = {"type": printer.value(query.type), "description": printer.value(query.description)}
    values |= query.figures
    if query.children:
        children = [_printed(child, printer, depth + 2) for child in query.children]
        values["children"] = printer.array(children, depth + 1)
    return printer.object(values, depth)


class _Native:
    """Converts the query that was profiled on one shard to native's, with the figures that were measured.

    The final search's query is a `bool` of the ranked documents and a filter, the tail. Elasticsearch may put
    it below a query that excludes nested documents, and below one that says that no scores are needed; then
    only the tail remains.
    """

    def __init__(self, root: EvaluatedRetriever, shard: int, windows: Windows) -> None:
        leaves = [each for each in root.all() if each.retriever.stands_for_its_results]
        docs = [_on_shard(each, shard) for each in (root, *leaves)]
        self._ranked = bool(docs[0])
        self._docs, *vectors = (
            rank_docs.printed(each, own, windows) for each, own in zip((root, *leaves), docs, strict=True)
        )
        self._vectors = iter(vectors)

    def query(self, query: _Query, *, scored: bool = True) -> _Query:
        """Return native's query in place of one that was profiled.

        Args:
            scored: Whether scores are needed.
        """
        if query.type == "ConstantScoreQuery" and query.children:
            inner = self.query(query.children[0], scored=False)
            return replace(query, description=f"ConstantScore({inner.description})", children=[inner])
        if query.description.endswith(_NESTED) and query.children:
            first, *others = query.children
            inner = self.query(first, scored=scored)
            sign = "+" if scored else "#"
            return replace(
                query, description=f"{sign}{inner.description}{_NESTED}", children=[inner, *others]
            )
        if scored and query.type == "DisjunctionMaxQuery" and query.children:
            query = query.children[0]
        return self._rank_docs(query, *(query.children if scored else (query, query)))

    def _rank_docs(self, query: _Query, *children: _Query) -> _Query:
        top = [_named(child, "TopQuery", self._docs) for child in children[:1] if self._ranked]
        tail = [self._with_vectors(child) for child in children[1:]]
        tail = [child for child in tail if child.description != _NO_VECTORS]
        return replace(_named(query, "RankDocsQuery", self._docs), children=[*top, *tail])

    def _with_vectors(self, query: _Query) -> _Query:
        """Replace queries that name each document of a vector search by the one query that native has."""
        if (
            query.type == "BooleanQuery"
            and "_id:([" in query.description
            and query.description.endswith(")~1")
        ):
            return _named(query, "TopQuery", next(self._vectors, "{rank_docs:[]}"))
        children = [self._with_vectors(child) for child in query.children]
        description = query.description
        for before, after in zip(query.children, children, strict=True):
            if after.description != before.description:
                description = description.replace(f"({before.description})", after.description, 1)
        return replace(query, description=description, children=children)


def _on_shard(evaluated: EvaluatedRetriever, shard: int) -> Sequence[RankDoc]:
    return [doc for doc in evaluated.docs if (doc.shard_doc or 0) >> 32 == shard]


def _named(query: _Query, name: str, docs: str) -> _Query:
    return _Query(name, name + docs, query.figures)
