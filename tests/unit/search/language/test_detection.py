"""Detection: which bodies hold a retriever that is evaluated here."""

import json
from typing import Any

import pytest

from rerank_proxy.search.language.detection import (
    compound_types,
    handles,
    holds_reranker,
    may_hold_retriever,
    types_to_ask_for,
)
from rerank_proxy.xcontent.source import parse
from tests.support.retrievers import diversify, linear, pinned, rescorer, rrf, rule
from tests.support.searches import KNN, RERANKER, STANDARD, reranking

RRF = rrf(reranking()["retriever"], {"retriever": STANDARD})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"retriever": STANDARD}, set()),
        ({"retriever": rrf(STANDARD, KNN)}, {"rrf"}),
        ({"retriever": {"rrf": {"retrievers": rescorer()}}}, {"rrf", "rescorer"}),
        ({"retriever": RRF}, {"rrf", RERANKER}),
        (
            {"retriever": linear({"retriever": pinned(diversify()), "weight": 2})},
            {"linear", "pinned", "diversify"},
        ),
        ({"retriever": {**STANDARD, **rrf()}}, {"rrf"}),
        ({"retriever": {"unknown": {"retriever": rrf()}}}, {"rrf"}),
        ({"query": {"retriever": rrf()}}, set()),
        ({"retriever": {"standard": {"query": {"rrf": {}}}}}, set()),
        ({"retriever": "rrf"}, set()),
        ([{"retriever": rrf()}], set()),
    ],
)
def test_types_of_compound_retrievers(body: Any, expected: set[str]) -> None:
    raw = json.dumps(body).encode()
    assert compound_types(raw) == compound_types(parse(raw)) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{", set()),
        (b'{"query" 1,"retriever":{"rrf":{}}}', set()),
        (b'{"query":[}],"retriever":{"text_similarity_reranker":{}}}', set()),
        (b'{"retriever":{"rrf":{}}', {"rrf"}),
        (b'{"retriever":{"rrf":{"retrievers":[}', {"rrf"}),
        (
            b'{"retriever":{"rrf":{"retrievers":[{"standard":},{"text_similarity_reranker":{}}',
            {"rrf", RERANKER},
        ),
        (b'{"retriever":{"text_similarity_reranker":{"field":x}}}', {RERANKER}),
    ],
)
def test_a_fault_of_the_text_hides_what_follows_it(body: bytes, expected: set[str]) -> None:
    """Upstream finds it first, unless it is in a tree with retrievers that upstream may not know."""
    assert compound_types(body) == expected


@pytest.mark.parametrize(
    ("tree", "evaluated", "handled"),
    [
        (STANDARD, (), False),
        (STANDARD, ("rrf", "standard"), False),
        (reranking()["retriever"], (), True),
        (RRF, (), True),
        (rrf(STANDARD), (), False),
        (rrf(STANDARD), ("rrf",), True),
        (rrf(STANDARD), ("linear",), False),
        (rrf(rescorer()), ("rrf",), True),
        (rrf(pinned()), ("rrf",), True),
        (rule(rrf(STANDARD)), ("rrf",), False),
        (rescorer(), ("rrf",), False),
        (rescorer(), ("rescorer",), True),
    ],
)
def test_which_searches_are_evaluated_here(tree: Any, evaluated: tuple[str, ...], handled: bool) -> None:
    body = json.dumps({"retriever": tree}).encode()
    assert handles(body, evaluated) is handles(parse(body), evaluated) is handled
    assert may_hold_retriever(body)


@pytest.mark.parametrize(
    ("body", "worth"),
    [
        (b'{"query":{"match_all":{}}}', False),
        (b'{"retriever":{}}', True),
        (b'{"\\u0072etriever":{}}', True),
        (b"", False),
    ],
)
def test_which_bodies_are_worth_parsing(body: bytes, worth: bool) -> None:
    assert may_hold_retriever(body) is worth


@pytest.mark.parametrize(
    ("body", "types"),
    [
        (json.dumps({"retriever": linear(rrf(STANDARD))}), ["linear", "rrf"]),
        (r'{"query":{"match":{"a":"\u00e9 retriever"}}}', []),
        ('{"query":{"match":{"a":"rrf"}}}', []),
        ('{"retriever":{"standard":{}}}', []),
        ('{"retriever":"rrf_"}', []),
    ],
)
def test_which_types_a_body_may_hold(body: str, types: list[str]) -> None:
    assert types_to_ask_for(body.encode(), ("linear", "pinned", "rrf")) == types


@pytest.mark.parametrize(
    "document",
    [
        reranking(),
        {"requests": [{"id": "q", "request": reranking()}]},
        {"source": reranking(), "params": {}},
        {"retriever": RRF},
        {"retriever": {"linear": {"retrievers": {"retriever": reranking()["retriever"]}}}},
    ],
)
def test_a_reranker_anywhere_in_a_document_is_found(document: Any) -> None:
    assert holds_reranker(parse(json.dumps(document).encode()))


@pytest.mark.parametrize(
    "document",
    [
        {"query": {"term": {RERANKER: 1}}},
        {"index": RERANKER},
        {"retriever": {"standard": {"query": {RERANKER: {}}}}},
    ],
)
def test_a_mention_in_a_document_is_not(document: Any) -> None:
    assert not holds_reranker(parse(json.dumps(document).encode()))
