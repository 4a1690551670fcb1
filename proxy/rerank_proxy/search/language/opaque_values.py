"""The values of a tree of retrievers that stay bytes here, and how to ask upstream what it thinks of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import setitem
from typing import Final

from rerank_proxy.search.language.raw_tree import raw_retrievers
from rerank_proxy.xcontent.source import ARRAY, Node

_BLANK: Final = bytes(byte if byte in b"\r\n" else ord(" ") for byte in range(256))


@dataclass(frozen=True, slots=True)
class OpaqueValue:
    """A value that only upstream can read.

    Attributes:
        put: Puts another node in its place in the tree.
    """

    node: Node
    put: Callable[[Node], None]


@dataclass(frozen=True, slots=True)
class Question:
    """The body of a search in which values stand where upstream parses them as it does inside retrievers.

    Attributes:
        values: In the order of the text; several are the items of an array.
        refusal: What upstream says of a fault in one of them, less the position. The fault is its cause.
    """

    opening: bytes
    values: Sequence[OpaqueValue]
    closing: bytes
    refusal: str

    @property
    def start(self) -> int:
        return self.values[0].node.start

    def value_at(self, offset: int) -> OpaqueValue:
        """The value that holds an offset of the body."""
        begun = (value for value in reversed(self.values) if value.node.start <= offset)
        return next(begun, self.values[0])


def questions(retriever: Node) -> list[Question]:
    """All that has to be asked about a tree of retrievers, in the order of the text."""
    queries: list[OpaqueValue] = []
    others: list[Question] = []
    for name, inner, _ in raw_retrievers(retriever):
        for key, node in inner.members.items():
            if key == "filter" or (name == "standard" and key == "query"):
                queries.extend(_each(inner, key))
            elif key in ("sort", "collapse"):
                others.append(_about("standard", key, [_member(inner, key)]))
            elif key == "rescore":
                others.append(_about("rescorer", key, _each(inner, key), in_array=node.kind == ARRAY))
            elif key == "query_vector_builder":
                others.append(_about_builder(_member(inner, key)))
    if queries:
        queries.sort(key=lambda value: value.node.start)
        others.append(_about_queries(queries))
    return sorted(others, key=lambda question: question.start)


def _member(parent: Node, key: str) -> OpaqueValue:
    return OpaqueValue(parent.members[key], partial(setitem, parent.members, key))


def _each(parent: Node, key: str) -> list[OpaqueValue]:
    """The items of an array, or what stands in its place."""
    node = parent.members[key]
    if node.kind != ARRAY:
        return [_member(parent, key)]
    return [OpaqueValue(item, partial(setitem, node.items, at)) for at, item in enumerate(node.items)]


def _about_queries(queries: Sequence[OpaqueValue]) -> Question:
    """As filters of a vector search: of all places for queries this one needs the fewest characters."""
    return Question(b'{"knn":{"filter":[', queries, b"]}}", "[knn] failed to parse field [filter]")


def _about(type_: str, key: str, values: Sequence[OpaqueValue], *, in_array: bool = False) -> Question:
    opening, closing = (b"[", b"]") if in_array else (b"", b"")
    return Question(
        b'{"retriever":{"%b":{"%b":%b' % (type_.encode(), key.encode(), opening),
        values,
        closing + b"}}}",
        f"[{type_}] failed to parse field [{key}]",
    )


def _about_builder(builder: OpaqueValue) -> Question:
    """The name of its one member says what it is, and may be at fault itself."""
    (name,) = builder.node.members
    refusal = f"[query_vector_builder] failed to parse field [{name}]"
    return Question(b'{"knn":{"query_vector_builder":', [builder], b"}}", refusal)


def in_place(body: bytes, question: Question) -> bytes:
    """The text of a question, in which each value has the line and column that it has in `body`."""
    parts, joint, end = [], question.opening, 0
    for value in question.values:
        parts += [over(body[end : value.node.start], joint), value.node.raw]
        joint, end = b",", value.node.end
    return b"".join(parts) + question.closing


def over(replaced: bytes, text: bytes) -> bytes:
    """`text`, and blanks such that what follows keeps its line and column in place of `replaced`.

    On one line `text` must not be the longer one.
    """
    blanks = replaced.translate(_BLANK)
    rest = blanks.lstrip(b" ")
    return text.ljust(len(blanks) - len(rest)) + rest
