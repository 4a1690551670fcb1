"""Which retrievers a request names: seen without reading it by their grammar."""

from collections.abc import Iterator

from proxy.errors import ElasticsearchError
from proxy.search.language.retrievers import COMPOUND_TYPES, RETRIEVER_TYPES, TEXT_SIMILARITY_RERANKER
from proxy.xcontent.source import OBJECT, Node, parse, walk


def uses(body: bytes | Node) -> frozenset[str]:
    """The types of the compound retrievers in a search body; none of what cannot be parsed."""
    try:
        root = body if isinstance(body, Node) else parse(body)
    except ElasticsearchError:
        return frozenset()
    retriever = root.members.get("retriever") if root.kind == OBJECT else None
    return frozenset() if retriever is None else COMPOUND_TYPES.intersection(_names(retriever))


def names_reranker(document: Node) -> bool:
    """Whether there is a reranker in any `retriever` of a document, as search requests of other APIs have."""
    retrievers = (node.members.get("retriever") for node in walk(document))
    return any(
        retriever is not None and TEXT_SIMILARITY_RERANKER in _names(retriever) for retriever in retrievers
    )


def nesting(retriever: Node) -> int:
    """How many retrievers stand inside one another; what has no retriever's name ends the count."""
    deepest = 0
    pending = [(retriever, 1)]
    while pending:
        node, level = pending.pop()
        inner = [member for name, member in node.members.items() if name in RETRIEVER_TYPES]
        if inner:
            deepest = max(deepest, level)
        pending.extend((child, level + 1) for member in inner for child in _children(member))
    return deepest


def _names(retriever: Node) -> Iterator[str]:
    """Every name in the place of a retriever's, in a tree of retrievers."""
    pending = [retriever]
    while pending:
        for name, inner in pending.pop().members.items():
            yield name
            pending.extend(_children(inner))


def _children(retriever: Node) -> Iterator[Node]:
    """The objects inside a retriever whose keys are retrievers' names."""
    if (child := retriever.members.get("retriever")) is not None:
        yield child
    if (children := retriever.members.get("retrievers")) is not None:
        for item in children.items or [children]:
            yield item.members.get("retriever", item)
