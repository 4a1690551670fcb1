"""The simplified form of `rrf` and `linear`: a text and fields instead of retrievers.

By ``MultiFieldsInnerRetrieverUtils``: the fields that are not `semantic_text` go into one `multi_match`, and
those that are into a retriever of the same type, of one `match` each. Indices whose fields differ get a pair
each.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from rerank_proxy.errors import error
from rerank_proxy.search.inner.queries import to_json
from rerank_proxy.search.language.field_weights import parse_field_weights
from rerank_proxy.search.language.retrievers import (
    Component,
    CompoundRetriever,
    FusingRetriever,
    LeafRetriever,
    LinearRetriever,
    Retriever,
    StandardRetriever,
    walk,
)
from rerank_proxy.upstream.protocol import reading
from rerank_proxy.xcontent.target import decode

Mappings = Mapping[str, Any]
"""The answer of `GET /{index}/_mapping`."""


async def expanded(
    root: CompoundRetriever, look_up: Callable[[], Awaitable[Mappings]], index: str | None
) -> CompoundRetriever:
    """The tree with retrievers in place of the simplified form.

    Args:
        look_up: Asks for the mappings of the searched indices; only if the tree has that form somewhere.
        index: The expression that names them, as it stands in the path; None for all.

    Raises:
        ElasticsearchError: 400, for indices of another cluster.
    """
    simplified = [each for each in walk(root) if isinstance(each, FusingRetriever) and each.query is not None]
    if not simplified:
        return root
    if any(":" in name and not name.startswith("<") for name in decode(index or "").split(",")):
        reason = f"[{simplified[0].TYPE}] cannot specify [query] when querying remote indices"
        raise error(400, "illegal_argument_exception", reason)
    mappings = await look_up()
    with reading("[_mapping]"):
        groups = _by_semantic_fields(mappings)
    return _expanded(root, groups)


@dataclass(frozen=True, slots=True)
class _Group:
    """Indices with the same `semantic_text` fields; without `indices`, all that are searched."""

    semantic: frozenset[str]
    indices: tuple[str, ...] = ()


def _by_semantic_fields(mappings: Mappings) -> Sequence[_Group]:
    grouped: dict[frozenset[str], list[str]] = {}
    for index, described in mappings.items():
        grouped.setdefault(frozenset(_semantic_fields(described.get("mappings", {}))), []).append(index)
    if len(grouped) <= 1:
        return [_Group(next(iter(grouped), frozenset()))]
    return [_Group(semantic, tuple(indices)) for semantic, indices in grouped.items()]


def _semantic_fields(mapping: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name, field in mapping.get("properties", {}).items():
        if field.get("type") == "semantic_text":
            yield path + name
        yield from _semantic_fields(field, f"{path}{name}.")


def _expanded(retriever: CompoundRetriever, groups: Sequence[_Group]) -> CompoundRetriever:
    if not isinstance(retriever, FusingRetriever):
        return replace(retriever, child=_expanded_child(retriever.child, groups))
    if retriever.query is None:
        components = tuple(
            replace(each, retriever=_expanded_child(each.retriever, groups)) for each in retriever.components
        )
    else:
        components = tuple(
            component for group in groups for component in _pair(retriever, retriever.query, group)
        )
    return replace(retriever, components=components, query=None, fields=None)


def _expanded_child(child: Retriever, groups: Sequence[_Group]) -> Retriever:
    return child if isinstance(child, LeafRetriever) else _expanded(child, groups)


def _pair(retriever: FusingRetriever, query: str, group: _Group) -> Iterator[Component]:
    """What one group of indices is searched for: by words, and by meaning."""
    normalizer = (isinstance(retriever, LinearRetriever) and retriever.normalizer) or "none"
    filters = (to_json({"terms": {"_index": list(group.indices)}}),) if group.indices else ()
    semantic = _semantic_weights(retriever.fields, group.semantic)
    lexical = None
    if retriever.fields is not None:
        lexical = [each for each in retriever.fields if each.rpartition("^")[0] not in semantic]
        lexical = [each for each in lexical if each not in semantic]
    if lexical is None or lexical:
        multi_match = {
            "query": query,
            "type": "most_fields",
            **({} if lexical is None else {"fields": lexical}),
        }
        by_words = StandardRetriever(query=to_json({"multi_match": multi_match}), filters=filters)
        yield Component(retriever=by_words, normalizer=normalizer)
    if semantic:
        matches = tuple(
            Component(
                retriever=StandardRetriever(
                    query=to_json({"match": {field: {"query": query}}}), filters=filters
                ),
                weight=weight,
                normalizer=normalizer,
            )
            for field, weight in semantic.items()
        )
        by_meaning = replace(
            retriever, components=matches, query=None, fields=None, filters=(), min_score=None
        )
        yield Component(retriever=replace(by_meaning, name=None), normalizer=normalizer)


def _semantic_weights(fields: Sequence[str] | None, semantic: frozenset[str]) -> dict[str, float]:
    """The `semantic_text` fields that are asked for; the weights of all patterns that find one multiply."""
    weights: dict[str, float] = {}
    for pattern, weight in parse_field_weights(fields or ("*",)).items():
        for field in sorted(semantic):
            if fnmatchcase(field, pattern.replace("[", "[[]").replace("?", "[?]")):
                weights[field] = weights.get(field, 1.0) * weight
    return weights
