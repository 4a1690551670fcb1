"""Which retrievers a request names: seen without reading it by their grammar."""

from collections.abc import Collection, Iterator
from typing import Final

from rerank_proxy.search.retrievers.grammar import MAX_NESTED_DEPTH
from rerank_proxy.search.retrievers.text_similarity_reranker import TextSimilarityReranker
from rerank_proxy.search.retrievers.types import COMPOUND_TYPES, RETRIEVER_TYPES
from rerank_proxy.xcontent.faults import ParseError
from rerank_proxy.xcontent.object_parser import one_or_each
from rerank_proxy.xcontent.source import Node, parse, walk

MAX_RETRIEVERS: Final = 1000
"""Retrievers in one tree, each of which is a search. Elasticsearch has no limit."""


def uses(body: bytes | Node) -> frozenset[str]:
    """Return the types of the compound retrievers in a search body.

    A fault of the text before the first retriever is met by upstream, too, and hides what follows it. One
    inside the tree of retrievers counts as a reranker, if one may be there: upstream would not get that far.
    """
    try:
        root = body if isinstance(body, Node) else parse(body)
        retriever = root.get("retriever")
    except ParseError:
        return frozenset()
    if retriever is None:
        return frozenset()
    names: set[str] = set()
    try:
        names.update(name for name, _ in _names(retriever, None))
    except ParseError:
        if TextSimilarityReranker.TYPE.encode() in root.body:
            names.add(TextSimilarityReranker.TYPE)
    return COMPOUND_TYPES.intersection(names)


def names_reranker(document: Node) -> bool:
    """Tell whether there is a reranker in any `retriever` of a document, as other APIs' searches have."""
    retrievers = (node.get("retriever") for node in walk(document))
    return any(
        name == TextSimilarityReranker.TYPE
        for retriever in retrievers
        if retriever is not None
        for name, _ in _names(retriever, None)
    )


def number_of_retrievers(retriever: Node) -> int:
    """Return how many retrievers there are, up to the first fault of the text. What has no retriever's name
    ends the count, and so does what is nested too deep.
    """
    number = 0
    try:
        for name, level in _names(retriever, RETRIEVER_TYPES):
            if level > MAX_NESTED_DEPTH:
                break
            number += name in RETRIEVER_TYPES
    except ParseError:
        pass  # which the grammar words when it gets there
    return number


def _names(retriever: Node, within: Collection[str] | None) -> Iterator[tuple[str, int]]:
    """Every name in the place of a retriever's, in a tree of retrievers, in the order of the text; each with
    its level, from 1 on.

    Args:
        within: The names whose values are looked into; None for all of them.
    """
    levels = [retriever.entries()]
    while levels:
        entry = next(levels[-1], None)
        if entry is None:
            levels.pop()
            continue
        name, inner = entry
        yield name, len(levels)
        if within is None or name in within:
            levels.append(_entries_of_children(inner))


def _entries_of_children(retriever: Node) -> Iterator[tuple[str, Node]]:
    for child in _children(retriever):
        yield from child.entries()


def _children(retriever: Node) -> Iterator[Node]:
    """The objects inside a retriever whose keys are retrievers' names."""
    for key, value in retriever.entries():
        if key == "retriever":
            yield value
        elif key == "retrievers":
            for item in one_or_each(value):
                yield item.get("retriever") or item
