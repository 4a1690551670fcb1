"""Upstream's answers about an index of endpoints. A server with any other answer is not Elasticsearch."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from rerank_proxy.inference.registry.index_client import RefusedError

MARK: Final = "#"
"""The first character of the ids of marks, documents that are not endpoints. An index gets one when it is
created.

When an index is deleted and created again under the same name, its documents have the same sequence numbers
as those before. An account that only reads documents has no other way to tell the two indices apart.
"""


class Version(NamedTuple):
    """A version of a document, different from all others, also in an earlier index of the same name."""

    marks: tuple[str, ...]
    seq_no: int
    primary_term: int


class Done(msgspec.Struct):
    """The answer to a write, whose status says all."""


class _Total(msgspec.Struct):
    value: int


class _Hit(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    seq_no: int = msgspec.field(name="_seq_no")
    primary_term: int = msgspec.field(name="_primary_term")


class _Hits(msgspec.Struct):
    total: _Total
    hits: list[_Hit] = []


class Found(msgspec.Struct):
    """The answer to a search for sequence numbers."""

    hits: _Hits

    def marks(self) -> tuple[str, ...]:
        return tuple(sorted(hit.id for hit in self.hits.hits if hit.id.startswith(MARK)))

    def versions(self) -> dict[str, Version]:
        """Return the versions of the endpoints, by id."""
        marks = self.marks()
        return {
            hit.id: Version(marks, hit.seq_no, hit.primary_term)
            for hit in self.hits.hits
            if not hit.id.startswith(MARK)
        }


class _Error(msgspec.Struct):
    type: str
    reason: str | None = None


class Got(msgspec.Struct):
    """One document, or that there is none, or why it cannot be read."""

    id: str = msgspec.field(name="_id")
    found: bool = False
    seq_no: int = msgspec.field(name="_seq_no", default=0)
    primary_term: int = msgspec.field(name="_primary_term", default=0)
    source: msgspec.Raw = msgspec.field(name="_source", default=msgspec.Raw(b"null"))
    error: _Error | None = None


class GotMany(msgspec.Struct):
    """The answer to `_mget`."""

    docs: list[Got]


class _Field(msgspec.Struct):
    type: str


class FieldCaps(msgspec.Struct):
    """The answer to `_field_caps`: the types of each field."""

    indices: list[str]
    fields: dict[str, dict[str, _Field]] = {}


def document_of(got: Got, marks: tuple[str, ...]) -> tuple[bytes, Version]:
    """Return a document's JSON and version.

    Args:
        marks: The marks of its index.

    Raises:
        RefusedError: Its shard is not available.
    """
    if got.error is not None:
        status = 503 if got.error.type == "no_shard_available_action_exception" else 500
        raise RefusedError(status, got.error.type, got.error.reason or "")
    return bytes(got.source), Version(marks, got.seq_no, got.primary_term)


def mapping_problem(caps: FieldCaps, mappings: Mapping[str, Any]) -> str | None:
    """Return how the mappings of an index differ from these; None when they do not.

    The field capabilities tell enough, and the account needs no privilege to see the mappings themselves.
    """
    if len(caps.indices) != 1:
        return f"it is a name for {len(caps.indices)} indices"
    for name, mapping in mappings["properties"].items():
        found = ", ".join(sorted(each.type for each in caps.fields.get(name, {}).values()))
        if mapping["type"] == "object":
            inner = next((field for field in caps.fields if field.startswith(f"{name}.")), None)
            if inner is not None:
                return f"it indexes [{inner}]"
        elif found != mapping["type"]:
            return f"its field [{name}] " + (
                f"is [{found}], not [{mapping['type']}]" if found else "is missing"
            )
    return None
