"""Retrievers as JSON, and what reading them gives."""

import json
from typing import Any, Final

import pytest

from rerank_proxy.errors import Cause, ElasticsearchError
from rerank_proxy.search.language.grammar import parse_retriever
from rerank_proxy.search.retrievers.retriever import LeafRetriever, Retriever
from rerank_proxy.xcontent.faults import ParseError
from rerank_proxy.xcontent.source import parse
from tests.support.searches import STANDARD

BASE: Final[dict[str, Any]] = {"filter": {"term": {"a": 1}}, "min_score": "0.5", "_name": "n"}
"""The keys that every retriever has."""
FILTERS: Final = (b'{"term": {"a": 1}}',)
"""Those of `BASE`, as written."""
RESCORE: Final[dict[str, Any]] = {"query": {"rescore_query": {"match_all": {}}}}


def rescorer(child: Any = STANDARD, rescore: Any = RESCORE, **options: Any) -> dict[str, Any]:
    return {"rescorer": {"retriever": child, "rescore": rescore, **options}}


def diversify(child: Any = STANDARD, **options: Any) -> dict[str, Any]:
    return {"diversify": {"retriever": child, "type": "mmr", "field": "v", "lambda": 0.5, **options}}


def pinned(child: Any = STANDARD, **options: Any) -> dict[str, Any]:
    return {"pinned": {"retriever": child, **({"ids": ["1"]} | options)}}


def rule(child: Any = STANDARD, **options: Any) -> dict[str, Any]:
    return {"rule": {"retriever": child, "ruleset_ids": ["r"], "match_criteria": {"a": "b"}, **options}}


def rrf(*children: Any, **options: Any) -> dict[str, Any]:
    return {"rrf": {"retrievers": list(children), **options}}


def linear(*children: Any, **options: Any) -> dict[str, Any]:
    """Children that are plain retrievers become components."""
    components = [child if "retriever" in child else {"retriever": child} for child in children]
    return {"linear": {"retrievers": components, **options}}


def window(size: Any) -> dict[str, Any]:
    """Return a rescorer with this window."""
    return {**RESCORE, "window_size": size}


def read(retriever: Any) -> Retriever:
    return parse_retriever(parse(json.dumps(retriever).encode()))


def refusal(retriever: Any) -> Cause:
    with pytest.raises(ParseError) as raised:
        read(retriever)
    assert raised.value.status == 400
    return raised.value.cause


def check_rewrite(tree: Any) -> None:
    """Check a tree as it is checked when native rewrites it."""
    retriever = read(tree)
    assert not isinstance(retriever, LeafRetriever)
    retriever.check_rewrite()


def rewrite_refusal(tree: Any) -> str:
    """Return the reason for which a tree is refused when native rewrites it."""
    with pytest.raises(ElasticsearchError) as raised:
        check_rewrite(tree)
    assert raised.value.status == 400
    assert raised.value.cause.type in ("illegal_argument_exception", "number_format_exception")
    assert raised.value.cause.caused_by is None
    return raised.value.cause.reason


def chain(failure: Cause | ElasticsearchError) -> list[tuple[str, str]]:
    """Type and reason of an error and of what caused it, outermost first."""
    found = []
    cause: Cause | None = failure if isinstance(failure, Cause) else failure.cause
    while cause is not None:
        found.append((cause.type, cause.reason))
        cause = cause.caused_by
    return found


def texts(failure: Cause | ElasticsearchError) -> list[str]:
    """Return the reasons, outermost first, without their positions."""
    return [
        reason.partition("] ")[2] if reason[:2].strip("[").isdigit() else reason
        for _, reason in chain(failure)
    ]
