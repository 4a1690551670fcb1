"""Why upstream may have closed the connection: it does not answer a request whose body it cannot decode."""

from typing import Final

from rerank_proxy.edge.answers import disconnected
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.http.codings import undecodable
from rerank_proxy.http.framing import content
from rerank_proxy.http.head import RequestHead
from rerank_proxy.http.inflate import SNAPPY, CodingError, EndsTooEarlyError, decompress, is_compressed
from rerank_proxy.upstream.faults import CLOSED
from rerank_proxy.upstream.targets import Target, UnixTarget

MAX_CODED: Final = 64 * 1024
"""The most bytes of a body that are decoded again, on the event loop, to learn whether it is corrupt."""
MAX_CODED_SNAPPY: Final = 1024
"""The same for Snappy, which is decoded in Python."""
MAX_DECODED: Final = 1024 * 1024


def closed_without_answer(
    target: Target, request: RequestHead, chunks: list[bytes] | None
) -> ElasticsearchError:
    """Return the error for a target that closed the connection in place of answering.

    Args:
        chunks: The body of the request as it was sent, if it is still there.
    """
    if isinstance(target, UnixTarget) or not is_compressed(request.fields.coding):
        return disconnected(target, CLOSED)
    what = f"{CLOSED}, as it does when it cannot decode the body of a request"
    return _fault_of(request, chunks or []) or disconnected(target, what)


def _fault_of(request: RequestHead, chunks: list[bytes]) -> ElasticsearchError | None:
    """Return the error for a compressed body that is corrupt. Elasticsearch accepts one that ends too early.

    Returns:
        None for a valid one, and for one that is not there or too long to be decoded again.
    """
    if sum(map(len, chunks)) > (MAX_CODED_SNAPPY if request.fields.coding == SNAPPY else MAX_CODED):
        return None
    decoded = 0
    try:
        for piece in decompress(content(chunks, chunked=request.chunked), request.fields.coding):
            decoded += len(piece)
            if decoded > MAX_DECODED:
                return None
    except EndsTooEarlyError:
        return None
    except CodingError as fault:
        return undecodable(request.fields.coding, fault)
    return None
