"""Which retrievers a request names, without reading it by their grammar."""

import json
from typing import Any

import pytest

from rerank_proxy.search.language.retriever_names import names_reranker, number_of_retrievers, uses
from rerank_proxy.search.retrievers.grammar import MAX_NESTED_DEPTH
from rerank_proxy.xcontent.source import parse
from tests.support.retrievers import diversify, linear, pinned, rescorer, rrf
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
    assert uses(raw) == uses(parse(raw)) == expected


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
    """Upstream meets it first, unless it is inside a tree with retrievers that upstream may not know."""
    assert uses(body) == expected


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
    assert names_reranker(parse(json.dumps(document).encode()))


@pytest.mark.parametrize(
    "document",
    [
        {"query": {"term": {RERANKER: 1}}},
        {"index": RERANKER},
        {"retriever": {"standard": {"query": {RERANKER: {}}}}},
    ],
)
def test_a_mention_in_a_document_is_not(document: Any) -> None:
    assert not names_reranker(parse(json.dumps(document).encode()))


@pytest.mark.parametrize(
    ("tree", "number"),
    [
        (STANDARD, 1),
        (rescorer(rrf(STANDARD, reranking(KNN)["retriever"])), 5),
        ({"unknown": {"retriever": STANDARD}}, 0),
        (rescorer({"unknown": {"retriever": STANDARD}}), 1),
        ({}, 0),
    ],
)
def test_number_of_retrievers(tree: Any, number: int) -> None:
    assert number_of_retrievers(parse(json.dumps(tree).encode())) == number


def test_depth_is_no_crash() -> None:
    depth = 490
    tree = (
        b'{"rescorer":{"retriever":' * depth + json.dumps(reranking()["retriever"]).encode() + b"}}" * depth
    )
    assert number_of_retrievers(parse(tree)) == MAX_NESTED_DEPTH
    assert uses(b'{"retriever":' + tree + b"}") == {"rescorer", RERANKER}
