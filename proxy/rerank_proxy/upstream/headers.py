"""Which headers go along: a caller's with the inner requests in its name, and upstream's with the answer.

This is the one place where the application drops a header. The edge, which forwards requests as they are,
keeps those that frame a message: see `http/hop_by_hop.py` for both.
"""

from collections.abc import Iterable, Mapping

from multidict import CIMultiDict

from rerank_proxy.http import hop_by_hop
from rerank_proxy.http.media_types import VERSION, MediaType, for_json
from rerank_proxy.http.messages import Header, to_text


def for_upstream(
    raw: Iterable[Header], accepted: MediaType | None = None, *, has_body: bool = False
) -> CIMultiDict[str]:
    """Return the headers that go along with inner requests in a caller's name.

    These are all but those of one hop or message, credentials and trace ids among them. Inner bodies and
    answers are JSON, which takes the place of other formats. The caller's own `Content-Type` counts only
    beside a body: clients send one without a body too, and a body in the URL has its type there.

    Args:
        raw: The caller's headers.
        accepted: The media type in its `Accept`.
        has_body: Whether the caller sent a body.
    """
    headers = CIMultiDict[str]()
    for name, value in _end_to_end(raw):
        if name.lower() == "accept" or (has_body and name.lower() == "content-type"):
            headers.add(name, for_json(value))
        elif name.lower() != "content-type":
            headers.add(name, value)
    headers.setdefault("Content-Type", _json_beside(accepted))
    return headers


def for_bodiless(headers: CIMultiDict[str]) -> CIMultiDict[str]:
    """Return the headers of an inner request without a body.

    Elasticsearch refuses some requests that name a media type for a body they do not have.
    """
    headers = headers.copy()
    headers.popall("Content-Type", None)
    return headers


def _json_beside(accepted: MediaType | None) -> str:
    """Return the type of a JSON body that the proxy makes.

    It names the version that `Accept` asks for, which Elasticsearch wants in both headers or in none.
    """
    version = accepted.parameters.get(VERSION) if accepted is not None else None
    return (
        "application/json" if version is None else f"application/vnd.elasticsearch+json;{VERSION}={version}"
    )


def of_own_answer(headers: Mapping[str, str], status: int = 200) -> list[tuple[str, str]]:
    """Return the headers of an answer that is made here, which are those of any answer of Elasticsearch's.

    Who is not let in is not told the product (``RestResponse#filterHeaders``).

    Args:
        headers: The request's.
        status: The answer's.
    """
    own = [] if status in (401, 403) else [("X-elastic-product", "Elasticsearch")]
    opaque_id = headers.get("X-Opaque-Id")
    if opaque_id is not None:
        own.insert(0, ("X-Opaque-Id", opaque_id))
    return own


def for_client(raw: Iterable[Header]) -> list[tuple[str, str]]:
    """Return upstream's headers for an answer whose body is made anew.

    What upstream says to the origin of an inner request is left out: the edge adds it to all answers alike.
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
    """Return the further hop-by-hop headers that `Connection` lists (RFC 9110, 7.6.1)."""
    lists = (value.decode("latin-1") for name, value in raw if name.lower() == b"connection")
    return frozenset(token.strip().lower() for value in lists for token in value.split(","))
