"""From a body's `retriever` to a tree of retrievers, with Elasticsearch's own complaints.

The rules are those of ``RetrieverBuilder#parseTopLevelRetrieverBuilder`` and of the parser of each retriever.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, Final

from rerank_proxy.chunks.grammar import parse_chunk_rescorer
from rerank_proxy.errors import error
from rerank_proxy.search.inner.fields import well_formed
from rerank_proxy.search.language.clauses import RESCORE, VECTOR, VECTOR_BUILDER
from rerank_proxy.search.language.leaf_grammar import BASE_FIELDS, base, parse_knn, parse_standard
from rerank_proxy.search.language.raw_tree import (
    MAX_NESTED_DEPTH,
    MAX_RETRIEVERS,
    number_of_retrievers,
)
from rerank_proxy.search.language.retrievers import (
    DEFAULT_INFERENCE_ID,
    DEFAULT_RANK_CONSTANT,
    DEFAULT_RANK_WINDOW_SIZE,
    TEXT_SIMILARITY_RERANKER,
    Component,
    DiversifyRetriever,
    LinearRetriever,
    PinnedDoc,
    PinnedRetriever,
    RescorerRetriever,
    Retriever,
    RrfRetriever,
    RuleRetriever,
    TextSimilarityReranker,
)
from rerank_proxy.search.language.unsupported import unsupported
from rerank_proxy.xcontent.faults import ParseError
from rerank_proxy.xcontent.object_parser import (
    BOOL,
    FLOAT,
    INT,
    RAW_OBJECT,
    STR,
    STRS,
    Field,
    did_you_mean,
    illegal_argument,
    java_float,
    last_token,
    numeric,
    objects,
    parse_named,
    parse_object,
    parsing_error,
    to_float,
    to_str,
    unknown_name,
)
from rerank_proxy.xcontent.source import OBJECT, Node

DEFAULT_WEIGHT: Final = 1.0
NORMALIZERS: Final = frozenset({"l2_norm", "minmax", "none"})

_Parser = Callable[[Node, int], Retriever]
"""Reads a retriever of some type, at some level."""


def parse_retriever(node: Node) -> Retriever:
    """Read the value of a body's `retriever`.

    Raises:
        ElasticsearchError: 400, with Elasticsearch's type, reason and position; also for what Elasticsearch
            accepts and this proxy does not support yet.
    """
    if number_of_retrievers(node) > MAX_RETRIEVERS:
        raise unsupported(f"[retriever] of more than [{MAX_RETRIEVERS}] retrievers")
    entries = node.entries()
    name, inner = next(entries)
    if name not in _PARSERS:
        cause = unknown_name(node, inner.start, name).cause
        hint = "" if name in _NAMES else did_you_mean(name, _NAMES)
        raise parsing_error(node, inner.start, f"unknown retriever [{name}]{hint}", cause)
    if inner.kind != OBJECT:
        reason = f"[{name}] retriever malformed, no [START_OBJECT] after retriever name"
        raise parsing_error(node, inner.start, reason)
    retriever = _PARSERS[name](inner, 1)
    for other, _ in entries:
        reason = f"[{name}] malformed retriever, expected [END_OBJECT] but found [FIELD_NAME]"
        raise parsing_error(node, node.keys[other], reason)
    return retriever


def _parse_child(node: Node, level: int) -> Retriever:
    next(node.entries(), None)  # a fault of the text up to there comes first
    _check_depth(level)
    return parse_named(node, "retriever", partial(_parse_member, level=level))


def _parse_member(node: Node, name: str, level: int) -> Retriever:
    """The retriever that is the value of a key of `node`.

    Args:
        level: 1 for the topmost retriever, 2 for its children …
    """
    _check_depth(level)
    if name not in _PARSERS:
        raise unknown_name(node, node.keys[name], name)
    inner = node.get(name)
    assert inner is not None  # the name was read there
    return _PARSERS[name](inner, level)


def _check_depth(level: int) -> None:
    """``RetrieverBuilder#parseTopLevelRetrieverBuilder`` counts before it looks at the name, and lets nothing
    that encloses the retriever wrap this.
    """
    if level > MAX_NESTED_DEPTH:
        reason = (
            "The nested depth of the [retriever] exceeds the maximum nested depth of "
            f"[{MAX_NESTED_DEPTH}] for retrievers"
        )
        raise error(400, "retriever_nesting_depth_exceeded_exception", reason)


def _parse_reranker(node: Node, level: int) -> TextSimilarityReranker:
    values = parse_object(node, TEXT_SIMILARITY_RERANKER, _reranker_fields(level + 1))
    return TextSimilarityReranker(
        child=values["retriever"],
        field=values["field"],
        inference_text=well_formed(values["inference_text"]),
        inference_id=values.get("inference_id", DEFAULT_INFERENCE_ID),
        allow_rerank_failures=values.get("allow_rerank_failures"),
        chunk_rescorer=values.get("chunk_rescorer"),
        min_score=values.get("min_score"),
        **_compound(values),
    )


def _parse_pinned(node: Node, level: int) -> PinnedRetriever:
    values = parse_object(node, "pinned", _pinned_fields(level + 1), _check_pinned)
    key = "docs" if values.get("docs") else "ids"
    docs = values["docs"] if key == "docs" else tuple(PinnedDoc(id=id_) for id_ in values["ids"])
    return PinnedRetriever(child=values["retriever"], docs=docs, key=key, **_compound(values))


def _check_pinned(values: Mapping[str, Any]) -> str | None:
    if "ids" in values and "docs" in values:
        return "Both 'ids' and 'docs' cannot be specified at the same time"
    if not values.get("ids") and not values.get("docs"):
        return "Either 'ids' or 'docs' must be provided and non-empty for pinned retriever"
    return None


def _parse_pinned_doc(node: Node) -> PinnedDoc:
    """``SpecifiedDocument``."""
    values = parse_object(node, "item", _PINNED_DOC_FIELDS, _check_pinned_doc)
    return PinnedDoc(id=values["_id"], index=values.get("_index"))


def _check_pinned_doc(values: Mapping[str, Any]) -> str | None:
    return "Item index cannot contain wildcard expressions" if "*" in values.get("_index", "") else None


def _parse_rule(node: Node, level: int) -> RuleRetriever:
    values = parse_object(node, "rule", _rule_fields(level + 1))
    return RuleRetriever(
        child=values["retriever"],
        ruleset_ids=node.members["ruleset_ids"].raw,
        match_criteria=values["match_criteria"],
        **_compound(values),
    )


def _parse_rescorer(node: Node, level: int) -> RescorerRetriever:
    values = parse_object(node, "rescorer", _rescorer_fields(level + 1), _check_rescorer)
    return RescorerRetriever(
        child=values["retriever"],
        rescore=tuple(rescorer for rescorer, _ in values["rescore"]),
        rank_window_size=min(window for _, window in values["rescore"]),
        **base(values),
    )


def _check_rescorer(values: Mapping[str, Any]) -> str | None:
    return None if values["rescore"] else "Missing rescore definition"


def _parse_diversify(node: Node, level: int) -> DiversifyRetriever:
    values = parse_object(node, "diversify", _diversify_fields(level + 1), _check_diversify)
    window = values.get("rank_window_size", DEFAULT_RANK_WINDOW_SIZE)
    vector = values.get("query_vector")
    return DiversifyRetriever(
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


def _check_diversify(values: Mapping[str, Any]) -> str | None:
    type_ = values["type"]
    return None if type_.lower() == "mmr" else f"unknown result diversification type [{type_}]"


def _parse_rrf(node: Node, level: int) -> RrfRetriever:
    values = parse_object(node, "rrf", _rrf_fields(level + 1))
    return RrfRetriever(
        components=values.get("retrievers", ()),
        query=values.get("query"),
        fields=values.get("fields"),
        rank_constant=values.get("rank_constant", DEFAULT_RANK_CONSTANT),
        **_compound(values),
    )


def _parse_rrf_component(node: Node, level: int) -> Component:
    """``RRFRetrieverComponent``: a retriever, or an object with a `retriever` and its `weight`.

    Args:
        level: The retriever's.
    """
    if node.kind != OBJECT:
        raise parsing_error(node, node.start, f"expected object but found [{node.kind}]")
    first, _ = next(node.entries(), ("retriever", None))
    if first not in ("retriever", "weight"):
        return Component(retriever=_parse_only_member(node, level))
    retriever, weight = None, DEFAULT_WEIGHT
    for name, member in node.entries():
        if name == "retriever":
            retriever = _parse_component_retriever(member, level)
        elif name == "weight":
            weight = _parse_weight(member)
        else:
            reason = f"unknown field [{name}], expected [retriever] or [weight]"
            raise parsing_error(node, node.keys[name], reason)
    if retriever is None:
        raise parsing_error(node, last_token(node), "retriever component must contain a retriever")
    if weight < 0:
        raise illegal_argument(
            f"[weight] must be non-negative, found [{java_float(weight)}]", last_token(node)
        )
    return Component(retriever=retriever, weight=weight)


def _parse_component_retriever(node: Node, level: int) -> Retriever:
    if node.kind != OBJECT:
        raise parsing_error(node, node.start, "retriever must be an object")
    if next(node.entries(), None) is None:
        _check_depth(level)
        raise unknown_name(node, last_token(node), "retriever")
    return _parse_only_member(node, level)


def _parse_only_member(node: Node, level: int) -> Retriever:
    entries = node.entries()
    name, child = next(entries)
    try:
        retriever = _parse_member(node, name, level)
    except ParseError as failure:
        at = child.start if failure.offset is None else failure.offset
        raise ParseError(failure.cause, at) from None
    for other, _ in entries:
        reason = f"unknown field [{other}] after retriever"
        raise parsing_error(node, node.keys[other], reason)
    return retriever


def _parse_weight(node: Node) -> float:
    try:
        return to_float(numeric(node))
    except ParseError as failure:
        raise ParseError(failure.cause, node.start) from None


def _parse_linear(node: Node, level: int) -> LinearRetriever:
    values = parse_object(node, "linear", _linear_fields(level + 1), _check_linear)
    default = values.get("normalizer")
    normalizer = None if default is None else default.lower()
    components = values.get("retrievers", ())
    return LinearRetriever(
        components=tuple(_linear_component(component, normalizer) for component in components),
        query=values.get("query"),
        fields=values.get("fields"),
        normalizer=normalizer,
        min_score=values.get("min_score"),
        **_compound(values),
    )


def _check_linear(values: Mapping[str, Any]) -> str | None:
    normalizer = values.get("normalizer")
    if normalizer is None or normalizer.lower() in NORMALIZERS:
        return None
    return f"Unknown normalizer [{normalizer}]"


def _parse_linear_component(node: Node, level: int) -> Mapping[str, Any]:
    """``LinearRetrieverComponent``.

    Args:
        level: The retriever's.
    """
    fields = _linear_component_fields(level)
    return parse_object(node, "retriever-component", fields, _check_linear_component)


def _check_linear_component(values: Mapping[str, Any]) -> str | None:
    return "[weight] must be non-negative" if values.get("weight", DEFAULT_WEIGHT) < 0 else None


def _linear_component(values: Mapping[str, Any], default: str | None) -> Component:
    return Component(
        retriever=values["retriever"],
        weight=values.get("weight", DEFAULT_WEIGHT),
        normalizer=values.get("normalizer", default or "none"),
    )


def _to_normalizer(node: Node) -> str:
    """``ScoreNormalizer#valueOf``."""
    name = to_str(node)
    if name.lower() not in NORMALIZERS:
        raise illegal_argument(f"Unknown normalizer [{name}]")
    return name.lower()


def _compound(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"rank_window_size": values.get("rank_window_size", DEFAULT_RANK_WINDOW_SIZE), **base(values)}


def _in_parsing_error(parse: _Parser) -> _Parser:
    """Some retrievers' ``fromXContent`` says again, with line and column, whatever goes wrong inside."""

    def wrapped(node: Node, level: int) -> Retriever:
        try:
            return parse(node, level)
        except ParseError as failure:
            at = node.start if failure.offset is None else failure.offset
            raise parsing_error(node, at, failure.cause.reason, failure.cause) from None

    return wrapped


_PARSERS: Final[Mapping[str, _Parser]] = {
    "standard": lambda node, _: parse_standard(node),
    "knn": lambda node, _: parse_knn(node),
    TEXT_SIMILARITY_RERANKER: _parse_reranker,
    "rrf": _parse_rrf,
    "linear": _parse_linear,
    "rescorer": _in_parsing_error(_parse_rescorer),
    "pinned": _in_parsing_error(_parse_pinned),
    "rule": _in_parsing_error(_parse_rule),
    "diversify": _parse_diversify,
}

_NAMES: Final = {**_PARSERS, "random_reranker": None}
"""Those that a complete Elasticsearch suggests."""

_PINNED_DOC_FIELDS: Final = {"_index": STR, "_id": replace(STR, required=True)}


def _child(level: int) -> Field:
    return Field(frozenset({OBJECT}), partial(_parse_child, level=level), required=True)


_each_level: Final = lru_cache(maxsize=MAX_NESTED_DEPTH + 1)
"""For tables of keys, which know at what level the retrievers in them are."""


@_each_level
def _reranker_fields(level: int) -> Mapping[str, Field]:
    return {
        "retriever": _child(level),
        "inference_id": STR,
        "inference_text": replace(STR, required=True),
        "field": replace(STR, required=True),
        "rank_window_size": INT,
        "allow_rerank_failures": BOOL,
        "chunk_rescorer": Field(RAW_OBJECT.kinds, parse_chunk_rescorer),
        **BASE_FIELDS,
    }


@_each_level
def _pinned_fields(level: int) -> Mapping[str, Field]:
    return {
        "ids": STRS,
        "docs": objects(_parse_pinned_doc),
        "retriever": _child(level),
        "rank_window_size": INT,
        **BASE_FIELDS,
    }


@_each_level
def _rule_fields(level: int) -> Mapping[str, Field]:
    return {
        "ruleset_ids": replace(STRS, required=True),
        "match_criteria": replace(RAW_OBJECT, required=True),
        "retriever": _child(level),
        "rank_window_size": INT,
        **BASE_FIELDS,
    }


@_each_level
def _rescorer_fields(level: int) -> Mapping[str, Field]:
    return {"retriever": _child(level), "rescore": RESCORE, **BASE_FIELDS}


@_each_level
def _diversify_fields(level: int) -> Mapping[str, Field]:
    return {
        "retriever": _child(level),
        "type": replace(STR, required=True),
        "field": replace(STR, required=True),
        "rank_window_size": INT,
        "query_vector": VECTOR,
        "query_vector_builder": VECTOR_BUILDER,
        "lambda": FLOAT,
        "size": INT,
        **BASE_FIELDS,
    }


@_each_level
def _rrf_fields(level: int) -> Mapping[str, Field]:
    return {
        "retrievers": objects(partial(_parse_rrf_component, level=level)),
        "fields": STRS,
        "query": STR,
        "rank_window_size": INT,
        "rank_constant": INT,
        **BASE_FIELDS,
    }


@_each_level
def _linear_fields(level: int) -> Mapping[str, Field]:
    return {
        "retrievers": objects(partial(_parse_linear_component, level=level)),
        "fields": STRS,
        "query": STR,
        "normalizer": STR,
        "rank_window_size": INT,
        **BASE_FIELDS,
    }


@_each_level
def _linear_component_fields(level: int) -> Mapping[str, Field]:
    return {
        "retriever": _child(level),
        "weight": FLOAT,
        "normalizer": Field(STR.kinds, _to_normalizer),
    }
