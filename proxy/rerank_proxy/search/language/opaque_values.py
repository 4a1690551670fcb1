"""The values of a tree of retrievers that are opaque here, and probes that have upstream parse them."""

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
        put: Replaces it in the tree by another node.
    """

    node: Node
    put: Callable[[Node], None]


@dataclass(frozen=True, slots=True)
class Probe:
    """A search whose body has opaque values in a place where upstream parses them as it does in retrievers.

    Attributes:
        values: In the order of the text. If there are several, they become the items of an array.
        refusal: The reason of the error that upstream wraps around a fault in one of them, without position.
    """

    opening: bytes
    values: Sequence[OpaqueValue]
    closing: bytes
    refusal: str

    @property
    def start(self) -> int:
        return self.values[0].node.start

    def value_at(self, offset: int) -> OpaqueValue:
        """Return the value that contains an offset of the body."""
        begun = (value for value in reversed(self.values) if value.node.start <= offset)
        return next(begun, self.values[0])


def probes(retriever: Node) -> list[Probe]:
    """Return the probes for all opaque values of a tree of retrievers, in the order of the text."""
    queries: list[OpaqueValue] = []
    probed: list[Probe] = []
    for name, inner, _ in raw_retrievers(retriever):
        for key, node in inner.members.items():
            if key == "filter" or (name == "standard" and key == "query"):
                queries.extend(_each(inner, key))
            elif key in ("sort", "collapse"):
                probed.append(_probe_of_field("standard", key, [_member(inner, key)]))
            elif key == "rescore":
                probed.append(
                    _probe_of_field("rescorer", key, _each(inner, key), in_array=node.kind == ARRAY)
                )
            elif key == "query_vector_builder":
                probed.append(_probe_of_builder(_member(inner, key)))
    if queries:
        queries.sort(key=lambda value: value.node.start)
        probed.append(_probe_of_queries(queries))
    return sorted(probed, key=lambda probe: probe.start)


def _member(parent: Node, key: str) -> OpaqueValue:
    return OpaqueValue(parent.members[key], partial(setitem, parent.members, key))


def _each(parent: Node, key: str) -> list[OpaqueValue]:
    """Return the items of an array, or the value itself if it is not an array."""
    node = parent.members[key]
    if node.kind != ARRAY:
        return [_member(parent, key)]
    return [OpaqueValue(item, partial(setitem, node.items, at)) for at, item in enumerate(node.items)]


def _probe_of_queries(queries: Sequence[OpaqueValue]) -> Probe:
    """Return a probe with the queries as filters of a vector search, the place that takes fewest characters.

    Few are best: they have to fit into what stands before the first value (`overlay`).
    """
    return Probe(b'{"knn":{"filter":[', queries, b"]}}", "[knn] failed to parse field [filter]")


def _probe_of_field(type_: str, key: str, values: Sequence[OpaqueValue], *, in_array: bool = False) -> Probe:
    opening, closing = (b"[", b"]") if in_array else (b"", b"")
    return Probe(
        b'{"retriever":{"%b":{"%b":%b' % (type_.encode(), key.encode(), opening),
        values,
        closing + b"}}}",
        f"[{type_}] failed to parse field [{key}]",
    )


def _probe_of_builder(builder: OpaqueValue) -> Probe:
    """Return a probe of a `query_vector_builder`, whose only member is named after its type."""
    (name,) = builder.node.members
    refusal = f"[query_vector_builder] failed to parse field [{name}]"
    return Probe(b'{"knn":{"query_vector_builder":', [builder], b"}}", refusal)


def probe_body(body: bytes, probe: Probe) -> bytes:
    """Return the text of a probe, with each value at the line and column that it has in `body`."""
    parts, joint, end = [], probe.opening, 0
    for value in probe.values:
        parts += [overlay(body[end : value.node.start], joint), value.node.raw]
        joint, end = b",", value.node.end
    return b"".join(parts) + probe.closing


def overlay(replaced: bytes, text: bytes) -> bytes:
    """Return `text` with whitespace such that it can replace `replaced` and what follows keeps its position.

    Line and column are kept if `replaced` has a line end or is at least as long as `text`.
    """
    blanks = replaced.translate(_BLANK)
    rest = blanks.lstrip(b" ")
    return text.ljust(len(blanks) - len(rest)) + rest
