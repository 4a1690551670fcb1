"""Answers of a server that a command asks, which need not be the one that it should be.

They are bounded, and JSON that can be written again: in UTF-8, without halves of surrogate pairs, without
numbers that are none or beyond a double, and not so deep that a recursive function could not follow.
"""

from typing import Annotated, Any, Final

import aiohttp
import msgspec

from rerank_proxy.xcontent.plain_json import is_deeper

MAX_DEPTH: Final = 100
"""Levels of an answer: far more than there are in one of Elasticsearch's."""


_LARGEST: Final = 3.4028234663852886e38
Score = Annotated[float, msgspec.Meta(ge=-_LARGEST, le=_LARGEST)]
"""A score as Elasticsearch has it, in single precision: differences and squares of such are finite."""


class TooLongError(Exception):
    """An answer has more bytes than it may have."""


class NotJsonError(Exception):
    """An answer is not JSON as it is expected."""


async def body_of(answer: aiohttp.ClientResponse, most: int) -> bytes:
    """Return the body of an answer, which is read no further than it may be long.

    Args:
        most: Bytes, without content coding.

    Raises:
        TooLongError: There are more.
    """
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > most:
            raise TooLongError
    return bytes(body)


def parsed(body: bytes) -> Any:
    """Return what an answer says.

    Raises:
        NotJsonError: It is not JSON, or could not be written again.
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise NotJsonError from None
    if is_deeper(value, MAX_DEPTH):
        raise NotJsonError
    return value
