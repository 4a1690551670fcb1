"""The body of `POST /clicks`: which documents of which searches were clicked."""

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from rerank_proxy.errors import illegal_argument

MAX_CLICKS: Final = 1000
"""Documents in one body, of all its searches."""

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
"""Elasticsearch's ids have at most 512 bytes."""


class ClickedDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A document by its id; the index is only needed where an answer has hits of several indices."""

    id: _Id
    index: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)] | None = None


class SearchClicks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was clicked of one search."""

    search: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    documents: Annotated[list[_Id | ClickedDocument], msgspec.Meta(min_length=1)]


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    clicks: Annotated[list[SearchClicks], msgspec.Meta(min_length=1)]


_decode: Final = msgspec.json.Decoder(_Body).decode


def read_clicks(body: bytes) -> Sequence[SearchClicks]:
    """Read a body.

    Raises:
        ElasticsearchError: 400, it is not JSON, or not as it has to be; the reason says where.
    """
    try:
        clicks = _decode(body).clicks
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as failure:
        raise illegal_argument(
            f"the clicks cannot be read: {failure}; expected "
            '{"clicks": [{"search": ID, "documents": [ID, ...]}]}'
        ) from None
    if sum(len(each.documents) for each in clicks) > MAX_CLICKS:
        raise illegal_argument(f"the body holds more than [{MAX_CLICKS}] documents; send several")
    return clicks
