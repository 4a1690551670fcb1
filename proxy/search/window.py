"""Reading the hits of an inner search."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from proxy.search.fields import text_of
from proxy.search.ranking import RankDoc
from proxy.search.rawjson import Printer, elements, members, text
from proxy.search.totals import Total


@dataclass(frozen=True, slots=True)
class Window:
    """The answer of an inner search, taken apart.

    Attributes:
        hits: Each hit's members as they were printed, in the order of the answer.
        docs: The same hits as documents to rank.
    """

    top: dict[str, bytes]
    outer: dict[str, bytes]
    hits: Sequence[dict[str, bytes]]
    docs: Sequence[RankDoc]
    printer: Printer

    @property
    def total(self) -> Total | None:
        raw = self.outer.get("total")
        if raw is None:
            return None
        value = json.loads(raw)
        return Total(value, "eq") if isinstance(value, int) else Total(value["value"], value["relation"])


def read_window(answer: bytes, field: str) -> Window:
    """Take apart the answer to `bodies.single_search` or `bodies.inner_search`."""
    top = members(answer)
    outer = members(top["hits"])
    hits = [members(hit) for hit in elements(outer["hits"])]
    docs = [_document(place, hit, field) for place, hit in enumerate(hits)]
    return Window(top, outer, hits, docs, Printer.like(answer))


def _document(place: int, hit: dict[str, bytes], field: str) -> RankDoc:
    score = hit.get("_score", b"null")
    sort = hit.get("sort")
    return RankDoc(
        index=text(hit["_index"]),
        id=text(hit["_id"]),
        place=place,
        shard_doc=int(elements(sort)[-1]) if sort is not None else None,
        first_score=None if score == b"null" else float(score),
        text=text_of(hit.get("fields"), field),
    )
