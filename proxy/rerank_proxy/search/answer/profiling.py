"""`profile: true`: the final search's profile by the names that native uses, and what reranking took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from rerank_proxy.search.answer import rank_docs
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.retrievers.retriever import Found, LeafRetriever, Windows
from rerank_proxy.search.run import Run
from rerank_proxy.xcontent.splicing import Printer, elements, members, text

_NO_VECTORS: Final = "TopQuery{rank_docs:[]}"
"""What is known to match nothing is not profiled."""
_AN_ID: Final = "_id:["
"""The identifier of a document, which native does not look up."""
_NESTED: Final = " #FieldExistsQuery [field=_primary_term]"
"""How the query ends where the mapping has nested documents."""


def profiled(profile: bytes, root: Found, run: Run, printer: Printer) -> bytes:
    """The `profile` object of the final answer.

    Native profiles only the final search, whose query it calls ``RankDocsQuery``. Beside its `shards` the
    proxy puts `reranker`: one entry for each reranker of the tree, as in the `X-Rerank` header.

    Args:
        printer: Of the answer, in which `profile` stands at depth 1.
    """
    sections = members(profile)
    shards = [members(shard) for shard in elements(sections["shards"])]
    place = 1 if "post_filter" in run.request.others else 0
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
    """The search that was profiled (since 9.5), with native's query in it."""
    values = members(request)
    source = members(values["source"])
    if "query" in source:
        source["query"] = printer.value(query, 4)
    return printer.object({**values, "source": printer.object(source, 3)}, 2)


def _shard_order(shard: dict[str, bytes]) -> tuple[int, str]:
    """Shards are numbered by their number, then by their index (``ShardId#compareTo``)."""
    return int(shard["shard_id"]), text(shard["index"])


def _renamed(searches: bytes, native: "_Native", place: int, printer: Printer) -> bytes:
    """Give each search's query native's names.

    Args:
        place: Of the query among those of the search: filters of hits come before it, of aggregations after.
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
        figures: Times and the like, as upstream printed them.
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
    """Makes of the query that was profiled on one shard native's, with the figures that were measured.

    Ours is a `bool` of the ranked documents and a filter, the tail. Elasticsearch puts both below a query
    that keeps nested documents out, and one that says that no score is needed; then only the tail stays.
    """

    def __init__(self, root: Found, shard: int, windows: Windows) -> None:
        found = [each for each in root.all() if _stands_for_its_results(each)]
        docs = [_on_shard(each, shard) for each in (root, *found)]
        self._ranked = bool(docs[0])
        self._docs, *vectors = (
            rank_docs.printed(each, own, windows) for each, own in zip((root, *found), docs, strict=True)
        )
        self._vectors = iter(vectors)

    def query(self, query: _Query, *, scored: bool = True) -> _Query:
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
        """Native has the documents of a vector search in one query, where we name them one by one."""
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


def _stands_for_its_results(found: Found) -> bool:
    leaf = found.retriever
    return isinstance(leaf, LeafRetriever) and leaf.stands_for_its_results


def _on_shard(found: Found, shard: int) -> Sequence[RankDoc]:
    return [doc for doc in found.docs if (doc.shard_doc or 0) >> 32 == shard]


def _named(query: _Query, name: str, docs: str) -> _Query:
    return _Query(name, name + docs, query.figures)
