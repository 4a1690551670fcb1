"""A tree of retrievers is walked as it was written."""

import json
from typing import Any

import pytest

from rerank_proxy.search.language.detection import compound_types
from rerank_proxy.search.language.raw_tree import number_of_retrievers
from rerank_proxy.search.retrievers.grammar import MAX_NESTED_DEPTH
from rerank_proxy.xcontent.source import parse
from tests.support.retrievers import rescorer, rrf
from tests.support.searches import KNN, RERANKER, STANDARD, reranking


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


def test_a_very_deep_tree_does_not_crash() -> None:
    depth = 490
    tree = (
        b'{"rescorer":{"retriever":' * depth + json.dumps(reranking()["retriever"]).encode() + b"}}" * depth
    )
    assert number_of_retrievers(parse(tree)) == MAX_NESTED_DEPTH
    assert compound_types(b'{"retriever":' + tree + b"}") == {"rescorer", RERANKER}
