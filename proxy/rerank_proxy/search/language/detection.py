"""Detection: whether a body holds a retriever that is evaluated here.

`handles` gives the answer, for a search. `may_hold_retriever` spares most bodies the parsing: it looks at
their bytes, and misses no retriever. (The edge has a filter of its own before that, `edge/detection.py`, for
bodies whose format and coding are not undone yet.)
"""

from collections.abc import Collection, Iterable
from typing import Final

from rerank_proxy.search.language.raw_tree import raw_retrievers
from rerank_proxy.search.retrievers.text_similarity_reranker import TextSimilarityReranker
from rerank_proxy.search.retrievers.types import COMPOUND_TYPES
from rerank_proxy.xcontent.faults import ParseError
from rerank_proxy.xcontent.source import Node, parse, walk

SIGNS: Final = (b"retriever", b"\\u")
"""One of these is in each body with a retriever: the word, or the escapes that may hide it."""


def may_hold_retriever(body: bytes) -> bool:
    """Return whether a body is worth parsing."""
    return any(sign in body for sign in SIGNS)


def types_to_ask_for(body: bytes, types: Iterable[str]) -> list[str]:
    """Return those of these types of retrievers that a body may hold, in their plain spelling.

    For the question whether upstream knows them. It is too costly to ask for each text with escapes.
    """
    if b'"retriever' not in body:
        return []
    return [name for name in types if b'"%b"' % name.encode() in body]


def handles(body: bytes | Node, evaluated: Collection[str] = frozenset()) -> bool:
    """Return whether a search is evaluated here.

    It is if its tree has a reranker, or if it has one of the types `evaluated` and, of all other compound
    retrievers, none but `rescorer`.

    Args:
        body: Of the search.
        evaluated: Types of retrievers that upstream does not know.
    """
    types = compound_types(body)
    return TextSimilarityReranker.TYPE in types or bool(
        types.intersection(evaluated) and types.issubset({*evaluated, "rescorer"})
    )


def compound_types(body: bytes | Node) -> frozenset[str]:
    """Return the types of the compound retrievers in the tree of a search.

    A fault of the text before the first retriever is met by upstream, too, and hides what follows it. One
    inside the tree of retrievers counts as a reranker, if one may be there: upstream would not get that far.
    """
    try:
        root = body if isinstance(body, Node) else parse(body)
        tree = root.get("retriever")
    except ParseError:
        return frozenset()
    if tree is None:
        return frozenset()
    names: set[str] = set()
    try:
        names.update(retriever.name for retriever in raw_retrievers(tree))
    except ParseError:
        if TextSimilarityReranker.TYPE.encode() in root.body:
            names.add(TextSimilarityReranker.TYPE)
    return COMPOUND_TYPES.intersection(names)


def holds_reranker(document: Node) -> bool:
    """Return whether any `retriever` in a document has a reranker in its tree.

    Other APIs hold searches somewhere inside their bodies, or hold something else.

    Raises:
        ParseError: The text has a fault.
    """
    trees = (node.get("retriever") for node in walk(document))
    return any(
        retriever.name == TextSimilarityReranker.TYPE
        for tree in trees
        if tree is not None
        for retriever in raw_retrievers(tree)
    )
