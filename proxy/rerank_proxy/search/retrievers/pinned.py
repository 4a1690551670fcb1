"""`pinned`: documents above everything that a child finds (``PinnedRetrieverBuilder``)."""

import json
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Self

from rerank_proxy.errors import illegal_argument
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.retrievers.clauses import sort_criteria, sorted_by
from rerank_proxy.search.retrievers.compound import DEFAULT_RANK_WINDOW_SIZE, WrappingRetriever
from rerank_proxy.search.retrievers.explanations import Detail, pinned
from rerank_proxy.search.retrievers.grammar import BASE_FIELDS, Nesting, base, each_level, in_parsing_error
from rerank_proxy.search.retrievers.queries import array, boolean, ids, of_index, query
from rerank_proxy.search.retrievers.retriever import Explained, Found, Key
from rerank_proxy.xcontent.java_numbers import print_float
from rerank_proxy.xcontent.object_parser import INT, STR, STRS, Field, objects, parse_object
from rerank_proxy.xcontent.source import Node

MAX_NUM_PINNED_HITS: Final = 100
_MAX_ORGANIC_BITS: Final = 0x7F000000
MAX_ORGANIC_SCORE: Final = 2.0**127
"""The most a document may score that is not pinned (``PinnedQueryBuilder``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedDoc:
    """A document to be pinned; without `index`, the one of this id in any index."""

    id: str
    index: str | None = None

    def query(self) -> bytes:
        """Return a query for it."""
        if self.index is None:
            return ids([self.id])
        return boolean({"filter": array([of_index(self.index), ids([self.id])])})

    def pretty(self) -> str:
        """Return it as ``Strings#toString`` prints it, blanks and all."""
        members = {} if self.index is None else {"_index": self.index}
        members["_id"] = self.id
        return json.dumps(members, indent=2, separators=(",", " : "), ensure_ascii=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedRetriever(WrappingRetriever):
    """Puts the documents `docs`, in this order, above everything that `child` finds.

    `key`: where they were listed, `ids` or `docs`.
    """

    TYPE: ClassVar = "pinned"
    SEES_WINDOWS_BELOW: ClassVar = False

    docs: tuple[PinnedDoc, ...]
    key: str = "docs"

    @classmethod
    @in_parsing_error
    def parse(cls, node: Node, nesting: Nesting) -> Self:
        values = parse_object(node, cls.TYPE, _fields(nesting.below), _check)
        key = "docs" if values.get("docs") else "ids"
        docs = values["docs"] if key == "docs" else tuple(PinnedDoc(id=id_) for id_ in values["ids"])
        window = values.get("rank_window_size", DEFAULT_RANK_WINDOW_SIZE)
        return cls(child=values["retriever"], docs=docs, key=key, rank_window_size=window, **base(values))

    def check_after_children(self, filters: tuple[bytes, ...]) -> None:
        """Refuse what ``#finalizeSourceBuilder`` and the constructor of ``PinnedQueryBuilder`` refuse."""
        for criterion in sort_criteria(self.child.sort):
            if sorted_by(criterion) not in ("_score", "_shard_doc"):
                raise illegal_argument(
                    "[pinned] retriever only supports sorting by score, "
                    f"invalid sort criterion: {criterion.decode(errors='replace')}"
                )
        if not self.child.has_query(filters):
            raise illegal_argument("pinned retriever requires retriever with associated query")
        if len(self.docs) > MAX_NUM_PINNED_HITS:
            raise illegal_argument(
                f"[pinned] Max of {MAX_NUM_PINNED_HITS} {self.key} exceeded: {len(self.docs)} provided."
            )
        for doc, count in Counter(self.docs).items():
            if count > 1:
                shown = doc.id if self.key == "ids" else doc.pretty()
                raise illegal_argument(
                    f"[pinned] duplicate {self.key.removesuffix('s')} found in list: {shown}"
                )

    def altered(self, clauses: Mapping[str, bytes]) -> Mapping[str, bytes]:
        return {**clauses, "query": self.above(clauses["query"])}

    def above(self, organic: bytes) -> bytes:
        """Return a query for the pins with their scores and, below them, what `organic` matches
        (``PinnedQueryBuilder``).
        """
        scored = (
            query("constant_score", {"filter": doc.query(), "boost": print_float(score)})
            for doc, score in zip(self.docs, pin_scores(len(self.docs)), strict=True)
        )
        return query("dis_max", {"queries": array([*scored, organic])})

    def searched_again(self, found: Sequence[RankDoc], taken: Sequence[RankDoc]) -> Sequence[RankDoc] | None:
        return [doc.scored(capped(doc.score)) for doc in found]

    def matches(self, found: Found, below: Sequence[bytes]) -> list[bytes]:
        return [*(doc.query() for doc in self.docs), *below]

    def explain(self, told: Explained, key: Key, boost: float) -> Detail | None:
        doc, explanation = told.doc(key), told.rank_doc(key, boost)
        if doc is None or explanation is None or doc.score <= MAX_ORGANIC_SCORE:
            return explanation
        return pinned(doc.score, explanation)


def pin_scores(count: int) -> list[float]:
    """Return what each of `count` pins scores, whether or not the others are found: consecutive float32
    numbers, the last one two above `MAX_ORGANIC_SCORE`.
    """
    first = _MAX_ORGANIC_BITS + 1 + count
    bits = struct.pack(f"<{count}I", *range(first, first - count, -1))
    return list(struct.unpack(f"<{count}f", bits))


def capped(score: float) -> float:
    """Return the score of a document that is not pinned."""
    return min(score, MAX_ORGANIC_SCORE)


def _check(values: Mapping[str, Any]) -> str | None:
    if "ids" in values and "docs" in values:
        return "Both 'ids' and 'docs' cannot be specified at the same time"
    if not values.get("ids") and not values.get("docs"):
        return "Either 'ids' or 'docs' must be provided and non-empty for pinned retriever"
    return None


def _parse_doc(node: Node) -> PinnedDoc:
    """(``SpecifiedDocument``.)"""
    values = parse_object(node, "item", _DOC_FIELDS, _check_doc)
    return PinnedDoc(id=values["_id"], index=values.get("_index"))


def _check_doc(values: Mapping[str, Any]) -> str | None:
    return "Item index cannot contain wildcard expressions" if "*" in values.get("_index", "") else None


_DOC_FIELDS: Final = {"_index": STR, "_id": replace(STR, required=True)}


@each_level
def _fields(children: Nesting) -> Mapping[str, Field]:
    return {
        "ids": STRS,
        "docs": objects(_parse_doc),
        "retriever": children.child,
        "rank_window_size": INT,
        **BASE_FIELDS,
    }
