"""Chooses the format of an answer and its `content-type`, as Elasticsearch 8 and 9 do."""

from collections.abc import Sequence
from dataclasses import dataclass

from rerank_proxy.http.media_types import VERSION, Format, MediaType, MediaTypeError, header


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What the media types of a request ask for.

    Attributes:
        format: Of the answer, errors included.
        content_type: The exact value of the answer's header.
        accepted: The media type in the request's `Accept`; None where Elasticsearch takes no notice of it.
        sent: The media type in its `Content-Type`; None in the same case.
    """

    format: Format
    content_type: str
    accepted: MediaType | None
    sent: MediaType | None


def negotiate(
    parameter: str | None, accept: Sequence[str], content_type: Sequence[str], *, has_body: bool
) -> Negotiated | None:
    """Choose as ``AbstractRestChannel#newBuilder`` does: by the parameter `format`, else `Accept`, else the
    request's type.

    What does not name one of Elasticsearch's formats (`text/html`, `*/*`, a list, an unknown value of the
    parameter) is ignored. The parameters of `Accept` are sent back in any case, even those that Elasticsearch
    does not know, or those of a type that it does not know.

    Args:
        parameter: The value of the parameter `format`.
        accept, content_type: All values of the headers.
        has_body: The request has a body; clients send a type even without one.

    Returns:
        None for headers that Elasticsearch refuses before it reads the body: malformed ones, and, with a
        body, a `compatible-with` that is not the same in both (``RestCompatibleVersionHelper``). Upstream has
        the messages for these, and knows which versions it is compatible with.
    """
    try:
        accepted, sent = header(accept), header(content_type)
    except MediaTypeError:
        return None
    if has_body and sent is not None and _version(accepted) != _version(sent):
        return None
    format_, vendor = _choose(parameter, accepted, sent)
    name = f"application/{'vnd.elasticsearch+' if vendor else ''}{format_.value}"
    # Java's HashMap gives `charset` and `compatible-with`, the two in use, in alphabetical order.
    parameters = sorted(accepted.parameters.items()) if accepted is not None else []
    name += "".join(f";{key}={value}" for key, value in parameters)
    return Negotiated(format_, name, accepted, sent)


def is_refusal(status: int, body: bytes) -> bool:
    """Return whether upstream refused the headers of an inner request (``MediaTypeHeaderException``).

    The client's request then gets the same from upstream, in the client's spelling and format.
    """
    return status == 400 and b'"media_type_header_exception"' in body[:300]


def _choose(parameter: str | None, accepted: MediaType | None, sent: MediaType | None) -> tuple[Format, bool]:
    """Return the format, and whether its media type is the vendor's."""
    try:
        return Format((parameter or "").lower()), False
    except ValueError:
        pass
    for media_type in (accepted, sent):
        if media_type is not None and media_type.format is not None:
            return media_type.format, media_type.vendor
    return Format.JSON, False


def _version(media_type: MediaType | None) -> str | None:
    return media_type.parameters.get(VERSION) if media_type is not None else None
