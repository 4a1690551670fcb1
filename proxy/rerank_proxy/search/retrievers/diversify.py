"""`diversify`: documents near the query and far from one another (``DiversifyRetrieverBuilder``)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from rerank_proxy.concurrency.offload import offload
from rerank_proxy.errors import illegal_argument
from rerank_proxy.search.failures import ChildFailedError
from rerank_proxy.search.ranks.diversity import diversify
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.retrievers.clauses import VECTOR, VECTOR_BUILDER
from rerank_proxy.search.retrievers.compound import DEFAULT_RANK_WINDOW_SIZE, WrappingRetriever
from rerank_proxy.search.retrievers.explanations import Detail
from rerank_proxy.search.retrievers.grammar import BASE_FIELDS, Nesting, each_level
from rerank_proxy.search.retrievers.ports import Evaluator
from rerank_proxy.search.retrievers.retriever import Explained, Found, Key
from rerank_proxy.xcontent.object_parser import FLOAT, INT, STR, Field, java_float, parse_object
from rerank_proxy.xcontent.source import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class DiversifyRetriever(WrappingRetriever):
    """Keeps `size` documents of the window that are near the query and far from one another (MMR).

    `encoded_vector`: a query vector in one string, which is not allowed here.
    """

    TYPE: ClassVar = "diversify"

    field: str
    size: int
    lambda_: float | None
    query_vector: tuple[float, ...] | None = None
    encoded_vector: str | None = None
    query_vector_builder: bytes | None = None

    @classmethod
    def parse(cls, node: Node, nesting: Nesting) -> Self:
        values = parse_object(node, cls.TYPE, _fields(nesting.below), _check)
        window = values.get("rank_window_size", DEFAULT_RANK_WINDOW_SIZE)
        vector = values.get("query_vector")
        return cls(
            child=values["retriever"],
            field=values["field"],
            rank_window_size=window,
            size=values.get("size", min(DEFAULT_RANK_WINDOW_SIZE, window)),
            lambda_=values.get("lambda"),
            query_vector=vector if isinstance(vector, tuple) else None,
            encoded_vector=vector if isinstance(vector, str) else None,
            query_vector_builder=values.get("query_vector_builder"),
            filters=values.get("filter", ()),
        )

    def failures(self, size: int | None, *, scrolls: bool) -> Iterator[str]:
        """Yield what ``#validate`` and ``MMRResultDiversification`` say, in place of what every compound
        retriever says, its children's included.
        """
        mmr = "[diversify] MMR result diversification"
        has_vector = self.query_vector is not None or self.encoded_vector is not None
        if has_vector and self.query_vector_builder is not None:
            yield f"{mmr} can have one of [query_vector] or [query_vector_builder], but not both"
        if self.encoded_vector is not None:
            yield "[diversify] retriever cannot have a [query_vector] that is string encoded"
        if self.size < 1:
            yield f"{mmr} [size] of {self.size} must be greater than zero"
        if self.size > self.rank_window_size:
            yield (
                f"{mmr} [size] of {self.size} cannot be greater than the [rank_window_size] of "
                f"{self.rank_window_size}"
            )
        share = self.lambda_
        if share is None or share < 0 or share > 1:
            shown = "null" if share is None else java_float(share)
            yield f"{mmr} must have a [lambda] between 0.0 and 1.0. The value provided was {shown}"

    def check_after_children(self, filters: tuple[bytes, ...]) -> None:
        """Refuse nothing."""

    @property
    def reads(self) -> frozenset[str]:
        return frozenset({self.field})

    def altered(self, clauses: Mapping[str, bytes]) -> Mapping[str, bytes]:
        return {**clauses, "track_scores": b"true"}

    async def take(
        self, found: Found, docs: Sequence[RankDoc], evaluator: Evaluator
    ) -> tuple[Found, Sequence[RankDoc]]:
        vectors = await evaluator.vectors(docs, self.field)
        numbers = sum(len(vector or ()) for vector in vectors)
        share = self.lambda_ or 0.0
        try:
            kept = await offload(numbers, diversify, docs, vectors, self.query_vector, share, self.size)
        except ValueError as failure:
            raise ChildFailedError(self.TYPE, illegal_argument(str(failure))) from None
        return found, kept

    def matches(self, found: Found, below: Sequence[bytes]) -> list[bytes]:
        return [*below]

    def explain(self, told: Explained, key: Key, boost: float) -> Detail | None:
        """Return what a retriever says that has nothing of its own to say, by the rank in the child's
        list.
        """
        (child,) = told.children
        return told.rank_doc(key, boost, at=child)


def _check(values: Mapping[str, Any]) -> str | None:
    type_ = values["type"]
    return None if type_.lower() == "mmr" else f"unknown result diversification type [{type_}]"


@each_level
def _fields(children: Nesting) -> Mapping[str, Field]:
    return {
        "retriever": children.child,
        "type": replace(STR, required=True),
        "field": replace(STR, required=True),
        "rank_window_size": INT,
        "query_vector": VECTOR,
        "query_vector_builder": VECTOR_BUILDER,
        "lambda": FLOAT,
        "size": INT,
        **BASE_FIELDS,
    }
