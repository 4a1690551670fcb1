"""Reading the hits of an inner search."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.search.inner.fields import text_of
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.xcontent.splicing import UNREADABLE, Printer, Raw, elements, members, parts, text

_OBJECTS: Final = {"_shards": b"", "hits": b"", "_clusters": b"{}"}
"""Those of the members of an answer that are objects, and what they are where they are absent."""
_FIRST_HIT: Final = b'"hits":['
_AFTER_HITS: Final = b"]}}"


@dataclass(frozen=True, slots=True)
class Total:
    """`relation` is `eq` for an exact count, `gte` for a lower bound."""

    value: int
    relation: str


@dataclass(frozen=True, slots=True)
class Window:
    """The answer of an inner search, taken apart.

    Attributes:
        top: The members of the answer, and in `outer` those of its `hits`; the array of hits is empty there.
        hits: Each hit as it was printed, in the order of the answer.
        docs: The same hits as documents to rank.
        field: Whose values are the documents' texts.
    """

    top: Mapping[str, bytes]
    outer: Mapping[str, bytes]
    hits: Sequence[Raw]
    docs: Sequence[RankDoc]
    field: str
    printer: Printer

    @property
    def total(self) -> Total | None:
        raw = self.outer.get("total")
        if raw is None:
            return None
        value = json.loads(raw)
        return Total(value, "eq") if isinstance(value, int) else Total(value["value"], value["relation"])


def search_answer(answer: bytes) -> dict[str, bytes]:
    """The members of a search's answer.

    Raises:
        ValueError: It is none, though it may be JSON.
    """
    return _checked(members(answer))


def _checked(top: dict[str, bytes]) -> dict[str, bytes]:
    if not all(top.get(name, default).startswith(b"{") for name, default in _OBJECTS.items()):
        raise ValueError("no answer to a search")
    return top


def read_window(answer: bytes, field: str) -> Window:
    """Take apart the answer to `bodies.single_search` or `bodies.inner_search`."""
    top, outer, hits = _split_at_hits(answer) or _split(answer)
    docs = [_document(place, hit, field) for place, hit in enumerate(hits)]
    return Window(top, outer, hits, docs, field, Printer.like(answer))


_Split = tuple[Mapping[str, bytes], Mapping[str, bytes], Sequence[Raw]]


def _split(answer: bytes) -> _Split:
    top = search_answer(answer)
    outer = members(top["hits"])
    hits = parts(outer["hits"])
    return top | {"hits": b"{}"}, outer | {"hits": b"[]"}, hits


def _split_at_hits(answer: bytes) -> _Split | None:
    """As `_split`, without reading the hits more than once; None for another layout than the usual one.

    An answer that is complete without its hits, and ends where their array does, is that answer around them.
    """
    start = answer.find(_FIRST_HIT) + len(_FIRST_HIT)
    if start < len(_FIRST_HIT) or not answer.endswith(_AFTER_HITS):
        return None
    try:
        top = search_answer(answer[:start] + _AFTER_HITS)
        outer = members(top["hits"])
        hits = parts(memoryview(answer)[start - 1 : 1 - len(_AFTER_HITS)])
    except (ElasticsearchError, KeyError, ValueError):
        return None
    return (top, outer, hits) if [*top][-1:] == [*outer][-1:] == ["hits"] else None


class _Hit(msgspec.Struct, gc=False):
    """What is read of a hit."""

    index: str = msgspec.field(name="_index")
    id: str = msgspec.field(name="_id")
    score: float | None = msgspec.field(name="_score", default=None)
    sort: list[msgspec.Raw] | None = None
    fields: dict[str, list[Any]] | None = None


_decode_hit: Final = msgspec.json.Decoder(_Hit).decode


def _document(place: int, raw: Raw, field: str) -> RankDoc:
    try:
        hit = _decode_hit(raw)
    except UNREADABLE:
        return _odd_document(place, members(raw), field)
    values = hit.fields.get(field) if hit.fields is not None else None
    value = values[0] if values else None
    if value is not None and type(value) is not str:
        return _odd_document(place, members(raw), field)
    shard_doc = int(bytes(hit.sort[-1])) if hit.sort is not None else None
    return RankDoc(hit.index, hit.id, place, shard_doc, hit.score, value)


def _odd_document(place: int, hit: Mapping[str, bytes], field: str) -> RankDoc:
    """Of a hit that msgspec does not read, or whose text is a number, say, in its own spelling."""
    score, sort = hit.get("_score", b"null"), hit.get("sort")
    return RankDoc(
        index=text(hit["_index"]),
        id=text(hit["_id"]),
        place=place,
        shard_doc=int(elements(sort)[-1]) if sort is not None else None,
        first_score=None if score == b"null" else float(score),
        text=text_of(hit.get("fields"), field),
    )
