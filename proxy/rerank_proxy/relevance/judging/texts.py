"""What a judge reads of documents: their chosen fields, as text, from the index.

A document that has gone since the pool was made is said to be missing. What a field holds is whatever someone
has indexed; it is text here and nothing else.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rerank_proxy.relevance.client.searching import Searcher

MAX_CHARACTERS: Final = 20_000
"""Of one field; more is not shown to a person."""

_BATCH: Final = 100
"""Documents in one search: more could be larger together than an answer may be."""


@dataclass(frozen=True, slots=True)
class FieldText:
    """A field of a document.

    Attributes:
        characters: Of the whole text, of which `text` may be the beginning.
    """

    name: str
    text: str
    characters: int


Document = Sequence[FieldText]
"""The fields of a document that are not empty, in the order in which they were chosen."""
Texts = Callable[[Sequence[str]], Awaitable[Mapping[str, Document]]]
"""Gives the documents that are there, by their ids. Raises RelevanceError where the index cannot be asked."""


def texts_of(searcher: Searcher, index: str, fields: Sequence[str]) -> Texts:
    """Return what fetches documents from an index."""

    async def fetched(ids: Sequence[str]) -> Mapping[str, Document]:
        found: dict[str, Document] = {}
        for begin in range(0, len(ids), _BATCH):
            answer = await searcher.search(index, body_of(ids[begin : begin + _BATCH], fields))
            found |= {name: document_of(values, fields) for name, values in answer.fields.items()}
        return found

    return fetched


def body_of(ids: Sequence[str], fields: Sequence[str]) -> dict[str, Any]:
    """Return a search for documents by their ids, with their fields as the index understands them: subfields,
    runtime fields and aliases too. An object has no value of its own, so its members are asked for as well.
    """
    return {
        "query": {"ids": {"values": [*ids]}},
        "size": len(ids),
        "_source": False,
        "fields": [*fields, *(f"{name}.*" for name in fields)],
        "track_total_hits": False,
    }


def document_of(values: Mapping[str, Any], fields: Sequence[str]) -> Document:
    """Return a document by the values of its fields."""
    return [*_fields(values, fields)]


def _fields(values: Mapping[str, Any], fields: Sequence[str]) -> Iterator[FieldText]:
    for name in _names(values, fields):
        text = "\n".join(_texts(values[name])).strip()
        if text:
            yield FieldText(name, text[:MAX_CHARACTERS], len(text))


def _names(values: Mapping[str, Any], fields: Sequence[str]) -> list[str]:
    """Return the names that there are: those that were chosen, and then those that a pattern has found. Of
    these, a field within one that is there too has the same text, indexed in another way.
    """
    chosen = [name for name in fields if name in values]
    found = sorted(values.keys() - {*chosen})
    return chosen + [name for name in found if not any(outer in values for outer in _around(name))]


def _around(name: str) -> Iterator[str]:
    """Yield the names of what a field is within."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _texts(value: Any) -> Iterator[str]:
    """Yield what a value holds. Objects, as of nested fields, are given by their members."""
    if isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, Mapping):
        for name, member in value.items():
            yield f"{name}: {', '.join(_texts(member))}"
    elif value is not None:
        yield str(value).lower() if isinstance(value, bool) else str(value)


def joined(document: Document) -> str:
    """Return a document as the one text that an endpoint scores."""
    return "\n".join(field.text for field in document)
