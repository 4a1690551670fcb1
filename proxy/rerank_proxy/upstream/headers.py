"""Which headers of a caller go along with the inner searches made in its name, and which come back."""

from collections.abc import Iterable, Sequence

from multidict import CIMultiDict

from rerank_proxy.http import hop_by_hop
from rerank_proxy.http.media_types import VERSION, MediaTypeError, header
from rerank_proxy.http.messages import Header, to_text


def for_upstream(raw: Iterable[Header]) -> CIMultiDict[str]:
    """The headers that go along with an inner search: credentials, media types, trace ids, and all others."""
    return CIMultiDict(_end_to_end(raw))


def content_type_beside(accept: Sequence[str]) -> str:
    """The type of a JSON body of ours: with the version that the answer is asked for in, as Elasticsearch
    wants it in both headers or in none.

    Args:
        accept: All values of the header.
    """
    try:
        media_type = header(accept)
    except MediaTypeError:
        return "application/json"  # Elasticsearch refuses the request for the other header
    version = media_type.parameters.get(VERSION) if media_type is not None else None
    return (
        "application/json" if version is None else f"application/vnd.elasticsearch+json;{VERSION}={version}"
    )


def for_client(raw: Iterable[Header]) -> list[tuple[str, str]]:
    """Upstream's headers for an answer whose body is made anew.

    What upstream says to the origin of an inner request the edge gives to all answers alike.
    """
    return [(name, value) for name, value in _end_to_end(raw) if not _of_the_origin(name.lower())]


def _of_the_origin(name: str) -> bool:
    return name == "vary" or name.startswith("access-control-")


def _end_to_end(raw: Iterable[Header]) -> list[tuple[str, str]]:
    raw = list(raw)
    dropped = hop_by_hop.FIELDS.keys() | _named_in_connection(raw)
    named = ((name.decode("ascii"), value) for name, value in raw)
    return [(name, to_text(value)) for name, value in named if name.lower() not in dropped]


def _named_in_connection(raw: Iterable[Header]) -> frozenset[str]:
    """The further hop-by-hop headers that `Connection` lists (RFC 9110, 7.6.1)."""
    lists = (value.decode("latin-1") for name, value in raw if name.lower() == b"connection")
    return frozenset(token.strip().lower() for value in lists for token in value.split(","))
