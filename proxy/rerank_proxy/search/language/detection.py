"""Detection: whether a body holds a retriever that is evaluated here.

`handles` gives the answer for a search. `may_hold_retriever` spares most bodies the parsing: it searches
their bytes, and misses no retriever. (The edge filters before that, with `edge/detection.py`, while bodies
may still be compressed or in another format than JSON.)
"""

from collections.abc import Collection, Iterable
from typing import Final

from rerank_proxy.search.language.raw_tree import raw_retrievers
from rerank_proxy.search.retrievers.text_similarity_reranker import TextSimilarityReranker
from rerank_proxy.search.retrievers.types import COMPOUND_TYPES
from rerank_proxy.upstream.abilities import EVALUATED
from rerank_proxy.xcontent.faults import ParseError
from rerank_proxy.xcontent.source import Node, parse, walk

SIGNS: Final = (b"retriever", b"\\u")
"""Each body with a retriever has one of these: the word, or an escape sequence that may hide it."""

_BY_SEARCHES: Final = frozenset((*EVALUATED, "rescorer"))


def may_hold_retriever(body: bytes) -> bool:
    """Return whether a body is worth parsing."""
    return any(sign in body for sign in SIGNS)


def types_to_ask_for(body: bytes, types: Iterable[str]) -> list[str]:
    """Return those of the given types of retrievers that a body may hold, in their plain spelling.

    Upstream is probed for these. It is not for each body with an escape sequence somewhere.
    """
    if b'"retriever' not in body:
        return []
    return [name for name in types if b'"%b"' % name.encode() in body]


def handles(body: bytes | Node, evaluated: Collection[str] = frozenset()) -> bool:
    """Return whether a search is evaluated here.

    It is if its tree has a reranker. It also is if the tree has a retriever of the types `evaluated` and no
    compound retriever but those that can be evaluated here from ordinary searches.

    Args:
        body: The body of the search, as bytes or parsed.
        evaluated: Types of retrievers that upstream does not know or may not evaluate.
    """
    types = compound_types(body)
    return TextSimilarityReranker.TYPE in types or bool(
        types.intersection(evaluated) and types <= _BY_SEARCHES.union(evaluated)
    )


def compound_types(body: bytes | Node) -> frozenset[str]:
    """Return the types of the compound retrievers in the tree of a search.

    There are none if the text has a fault before the first retriever: upstream fails there as well, so that
    what follows does not matter. A fault inside the tree of retrievers counts as a reranker if the body may
    hold one, because upstream would refuse the reranker before it got to the fault.
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

    It is meant for the bodies of other APIs, which may have searches anywhere inside.

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
