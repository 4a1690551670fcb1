"""The common parts of `rrf` and `linear`: weighted children, and a simplified form without children.

The simplified form (``MultiFieldsInnerRetrieverUtils``) has a text and fields instead of retrievers. It
stands for a `multi_match` on the fields that are not `semantic_text`, and a retriever of the same type with
one `match` for each field that is. There is such a pair for each group of indices with the same
`semantic_text` fields.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np

from rerank_proxy import wildcards
from rerank_proxy.errors import illegal_argument
from rerank_proxy.search.retrievers.compound import DEFAULT_RANK_WINDOW_SIZE, CompoundRetriever
from rerank_proxy.search.retrievers.grammar import base
from rerank_proxy.search.retrievers.queries import to_json
from rerank_proxy.search.retrievers.retriever import EvaluatedRetriever, IndexGroup, Retriever
from rerank_proxy.search.retrievers.standard import StandardRetriever
from rerank_proxy.xcontent.object_parser import java_number

DEFAULT_WEIGHT: Final = 1.0
NO_NORMALIZER: Final = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A child of a fusing retriever, with its weight in the sum. Only `linear` uses `normalizer`."""

    retriever: Retriever
    weight: float = DEFAULT_WEIGHT
    normalizer: str = NO_NORMALIZER


@dataclass(frozen=True, slots=True, kw_only=True)
class FusingRetriever(CompoundRetriever):
    """A compound retriever that adds up the scores or ranks of several lists.

    Attributes:
        components: Empty in the simplified form, which has a `query` instead.
        query: The text of the simplified form, which is searched for in `fields`; None for the full form.
        fields: Names and patterns, each with an optional `^weight`; None for the index's default fields.
    """

    components: tuple[Component, ...] = ()
    query: str | None = None
    fields: tuple[str, ...] | None = None

    @property
    def children(self) -> tuple[Retriever, ...]:
        return tuple(component.retriever for component in self.components)

    @property
    def weights(self) -> list[float]:
        """The weight of each child."""
        return [component.weight for component in self.components]

    @property
    @abstractmethod
    def default_normalizer(self) -> str:
        """The normalizer of children that do not name one."""

    def own_failures(self) -> Iterator[str]:
        """Yield what ``MultiFieldsInnerRetrieverUtils#validateParams`` finds."""
        name, query, fields = self.TYPE, self.query, self.fields
        if query is None:
            if fields is not None:
                yield f"[{name}] [query] must be provided when [fields] is specified"
            elif not self.components:
                yield f"[{name}] must provide [retrievers] or [query]"
            return
        if not query:
            yield f"[{name}] [query] cannot be empty"
        if fields == ():
            yield f"[{name}] [fields] cannot be empty"
        if self.components:
            yield f"[{name}] cannot combine [retrievers] and [query]"

    def check_before_children(self) -> None:
        if any(weight < 0 for weight in parse_field_weights(self.fields or ()).values()):
            raise illegal_argument(f"[{self.TYPE}] per-field weights must be non-negative")

    def with_filters(self, inherited: tuple[bytes, ...] = ()) -> Self:
        filters = (*self.filters, *inherited)
        components = (
            replace(each, retriever=each.retriever.with_filters(filters)) for each in self.components
        )
        return replace(self, components=tuple(components), filters=())

    def expanded(self, groups: Sequence[IndexGroup]) -> Self:
        if self.query is None:
            components = (
                replace(each, retriever=each.retriever.expanded(groups)) for each in self.components
            )
        else:
            components = (each for group in groups for each in self._searching(self.query, group))
        return replace(self, components=tuple(components), query=None, fields=None)

    def _searching(self, query: str, group: IndexGroup) -> Iterator[Component]:
        """Yield the components that search one group of indices: for words, and for meaning."""
        filters = (to_json({"terms": {"_index": list(group.indices)}}),) if group.indices else ()
        semantic = _semantic_weights(self.fields, group.semantic)
        lexical = _lexical_fields(self.fields, semantic)
        if lexical is None or lexical:
            fields = {} if lexical is None else {"fields": lexical}
            yield self._component({"multi_match": {"query": query, "type": "most_fields", **fields}}, filters)
        if semantic:
            matches = tuple(
                self._component({"match": {name: {"query": query}}}, filters, weight)
                for name, weight in semantic.items()
            )
            plain = replace(self, query=None, fields=None, filters=(), min_score=None, name=None)
            by_meaning = replace(plain, components=matches)
            yield Component(retriever=by_meaning, normalizer=self.default_normalizer)

    def _component(
        self, query: Mapping[str, Any], filters: tuple[bytes, ...], weight: float = DEFAULT_WEIGHT
    ) -> Component:
        leaf = StandardRetriever(query=to_json(query), filters=filters)
        return Component(retriever=leaf, weight=weight, normalizer=self.default_normalizer)

    def matches(self, evaluated: EvaluatedRetriever, below: Sequence[bytes]) -> list[bytes]:
        return [*below]


def fusing_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that the classes of both retrievers share, except the components."""
    return {
        "query": values.get("query"),
        "fields": values.get("fields"),
        "rank_window_size": values.get("rank_window_size", DEFAULT_RANK_WINDOW_SIZE),
        **base(values),
    }


def parse_field_weights(fields: Iterable[str]) -> dict[str, float]:
    """Return the weight of each name or pattern, by default 1 (``QueryParserHelper#parseFieldsAndWeights``).

    If one is given several times, its weights are multiplied.

    Args:
        fields: Names or patterns such as `title` or `title^2`.

    Raises:
        ElasticsearchError: 400, a weight is not a number.
    """
    weights: dict[str, float] = {}
    for each in fields:
        name, caret, text = each.partition("^")
        weight = np.float32(java_number(text) if caret else 1)
        weights[name] = float(weight * np.float32(weights.get(name, 1)))
    return weights


def _lexical_fields(fields: Sequence[str] | None, semantic: Mapping[str, float]) -> list[str] | None:
    """Return the given fields that are not `semantic_text`; None for the index's default fields."""
    if fields is None:
        return None
    return [each for each in fields if each.rpartition("^")[0] not in semantic and each not in semantic]


def _semantic_weights(fields: Sequence[str] | None, semantic: frozenset[str]) -> dict[str, float]:
    """Return the weights of `semantic_text` fields: products of the weights of all patterns that match."""
    weights: dict[str, float] = {}
    for pattern, weight in parse_field_weights(fields or ("*",)).items():
        for name in sorted(semantic):
            if wildcards.matches(pattern, name):
                weights[name] = weights.get(name, 1.0) * weight
    return weights
