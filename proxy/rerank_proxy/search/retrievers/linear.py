"""`linear`: a weighted sum of normalised scores (``LinearRetrieverBuilder``)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

from rerank_proxy.errors import illegal_argument
from rerank_proxy.search.ranks.fusion import NORMALIZERS, fuse_linear, normalize_list
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.ranks.scores import Float32s
from rerank_proxy.search.retrievers.explanations import Detail, linear
from rerank_proxy.search.retrievers.fusing import (
    DEFAULT_WEIGHT,
    NO_NORMALIZER,
    Component,
    FusingRetriever,
    fusing_values,
)
from rerank_proxy.search.retrievers.grammar import BASE_FIELDS, Nesting, each_level
from rerank_proxy.search.retrievers.retriever import Explained, Key
from rerank_proxy.xcontent import object_parser
from rerank_proxy.xcontent.object_parser import (
    FLOAT,
    INT,
    STR,
    STRS,
    Field,
    java_float,
    objects,
    parse_object,
)
from rerank_proxy.xcontent.source import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearRetriever(FusingRetriever):
    """Adds up the normalised scores of each document.

    `normalizer`: the one of the simplified form, and of components that name none.
    """

    TYPE: ClassVar = "linear"

    normalizer: str | None = None

    @classmethod
    def parse(cls, node: Node, nesting: Nesting) -> Self:
        values = parse_object(node, cls.TYPE, _fields(nesting.below), _check)
        default = values.get("normalizer")
        normalizer = None if default is None else default.lower()
        components = (_component(each, normalizer) for each in values.get("retrievers", ()))
        return cls(
            components=tuple(components),
            normalizer=normalizer,
            min_score=values.get("min_score"),
            **fusing_values(values),
        )

    @property
    def default_normalizer(self) -> str:
        return self.normalizer or NO_NORMALIZER

    def own_failures(self) -> Iterator[str]:
        yield from FusingRetriever.own_failures(self)
        if self.query is not None and self.normalizer is None:
            yield f"[{self.TYPE}] [normalizer] must be provided when [query] is specified"

    def check_after_children(self, filters: tuple[bytes, ...]) -> None:
        if self.min_score is not None and self.min_score < 0:
            shown = java_float(self.min_score)
            raise illegal_argument(f"[min_score] must be greater than or equal to 0, was: [{shown}]")

    def altered(self, clauses: Mapping[str, bytes]) -> Mapping[str, bytes]:
        return {**clauses, "track_scores": b"true"}

    def combine(self, lists: Sequence[Sequence[RankDoc]]) -> Sequence[RankDoc]:
        return fuse_linear(lists, self.weights, self._normalizers, self.rank_window_size, self.min_score)

    @property
    def _normalizers(self) -> list[str]:
        return [component.normalizer for component in self.components]

    def explain(self, told: Explained, key: Key, boost: float) -> Detail | None:
        doc = told.doc(key)
        if doc is None:
            return None
        if told.normalized is None:
            told.normalized = self._normalized(told)
        scores = []
        for normalized, child in zip(told.normalized, told.children, strict=True):
            rank = child.rank(key, len(normalized))
            scores.append(0.0 if rank is None else float(normalized[rank - 1]))
        return linear(doc.score, self.weights, self._normalizers, scores, told.sources(key, boost))

    def _normalized(self, told: Explained) -> Sequence[Float32s]:
        children = zip(told.children, self._normalizers, strict=True)
        return [
            normalize_list(child.found.first(self.rank_window_size), normalizer)
            for child, normalizer in children
        ]


def _check(values: Mapping[str, Any]) -> str | None:
    normalizer = values.get("normalizer")
    if normalizer is None or normalizer.lower() in NORMALIZERS:
        return None
    return f"Unknown normalizer [{normalizer}]"


def _parse_component(node: Node, nesting: Nesting) -> Mapping[str, Any]:
    """(``LinearRetrieverComponent``.)"""
    return parse_object(node, "retriever-component", _component_fields(nesting), _check_component)


def _check_component(values: Mapping[str, Any]) -> str | None:
    return "[weight] must be non-negative" if values.get("weight", DEFAULT_WEIGHT) < 0 else None


def _component(values: Mapping[str, Any], default: str | None) -> Component:
    return Component(
        retriever=values["retriever"],
        weight=values.get("weight", DEFAULT_WEIGHT),
        normalizer=values.get("normalizer", default or NO_NORMALIZER),
    )


def _to_normalizer(node: Node) -> str:
    """(``ScoreNormalizer#valueOf``.)"""
    name = object_parser.to_str(node)
    if name.lower() not in NORMALIZERS:
        raise object_parser.illegal_argument(f"Unknown normalizer [{name}]")
    return name.lower()


@each_level
def _fields(children: Nesting) -> Mapping[str, Field]:
    return {
        "retrievers": objects(partial(_parse_component, nesting=children)),
        "fields": STRS,
        "query": STR,
        "normalizer": STR,
        "rank_window_size": INT,
        **BASE_FIELDS,
    }


@each_level
def _component_fields(children: Nesting) -> Mapping[str, Field]:
    return {
        "retriever": children.child,
        "weight": FLOAT,
        "normalizer": Field(STR.kinds, _to_normalizer),
    }
