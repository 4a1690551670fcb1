"""A tree of retrievers as it was written, walked without reading it by the grammar."""

from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

from rerank_proxy.search.retrievers.grammar import MAX_NESTED_DEPTH
from rerank_proxy.search.retrievers.types import RETRIEVER_TYPES
from rerank_proxy.xcontent.faults import ParseError
from rerank_proxy.xcontent.object_parser import one_or_each
from rerank_proxy.xcontent.source import Node

MAX_RETRIEVERS: Final = 1000
"""Retrievers in one tree, each of which is a search. Elasticsearch has no limit."""


class RawRetriever(NamedTuple):
    """A name in the place of a retriever's, and its value, which may be anything.

    Attributes:
        level: 1 for the top of the tree, 2 for its children …
    """

    name: str
    value: Node
    level: int


def raw_retrievers(tree: Node, within: Collection[str] | None = None) -> Iterator[RawRetriever]:
    """Give the retrievers of a tree in the order of the text, each before the text behind it is read.

    Args:
        tree: The value of a `retriever`.
        within: The names whose values are walked too; None for all of them.

    Raises:
        ParseError: The text has a fault.
    """
    levels = [tree.entries()]
    while levels:
        entry = next(levels[-1], None)
        if entry is None:
            levels.pop()
            continue
        name, value = entry
        yield RawRetriever(name, value, len(levels))
        if within is None or name in within:
            levels.append(_entries_of_children(value))


def number_of_retrievers(tree: Node) -> int:
    """Count the retrievers of a tree up to the first fault of its text.

    What is inside an unknown retriever is not counted, and a tree that is nested too deep ends the count.
    """
    number = 0
    try:
        for name, _, level in raw_retrievers(tree, RETRIEVER_TYPES):
            if level > MAX_NESTED_DEPTH:
                break
            number += name in RETRIEVER_TYPES
    except ParseError:
        pass  # which the grammar words when it gets there
    return number


def _entries_of_children(retriever: Node) -> Iterator[tuple[str, Node]]:
    for child in _children(retriever):
        yield from child.entries()


def _children(retriever: Node) -> Iterator[Node]:
    """Give the objects inside a retriever whose keys are retrievers' names."""
    for key, value in retriever.entries():
        if key == "retriever":
            yield value
        elif key == "retrievers":
            for item in one_or_each(value):
                yield item.get("retriever") or item
