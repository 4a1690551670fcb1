"""Checks the headers of calls: an endpoint may not set those that frame, code or route a message."""

import re
from collections.abc import Iterable
from typing import Final

from rerank_proxy.observe.log_lines import printable

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NEVER_IN_A_VALUE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]")
_OTHER_THAN_LETTERS: Final = re.compile(r"[^0-9a-z]+")
_MAX_HEAD: Final = 32 * 1024
_MAX_EXCERPT: Final = 100
_RESERVED: Final = frozenset(
    {
        # Of one connection (RFC 9110, section 7.6.1)
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
        # Framing, coding and expectations
        "content-length",
        "content-encoding",
        "content-transfer-encoding",
        "content-range",
        "accept-encoding",
        "expect",
        # Routing
        "host",
        "forwarded",
        "via",
        "max-forwards",
        "x-host",
        "x-original-host",
        "x-original-url",
        "x-original-uri",
        "x-rewrite-url",
        "x-method-override",
        "x-http-method",
        "x-http-method-override",
    }
)
_RESERVED_PREFIXES: Final = ("proxy-", "x-forwarded-")


class HeaderNotAllowedError(ValueError):
    """A header may not be sent. The message names it and holds nothing of its value."""


def check_name(name: str) -> None:
    """Refuse a header that an endpoint may not set, however it is spelt.

    Servers that turn names into variables take `Transfer_Encoding` or `content.length` for what they look
    like.

    Raises:
        HeaderNotAllowedError: It may not be set.
    """
    if not _TOKEN.fullmatch(name):
        raise HeaderNotAllowedError(f"[{excerpt(name)}] is not the name of a header")
    plain = _OTHER_THAN_LETTERS.sub("-", name.lower()).strip("-")
    if plain in _RESERVED or plain.startswith(_RESERVED_PREFIXES):
        raise HeaderNotAllowedError(
            f"[{name}] may not be set by an endpoint: it says how the message is sent, not what is in it"
        )


def check_value(name: str, value: str) -> None:
    """Refuse a value in which some reader would see the end of the line.

    Raises:
        HeaderNotAllowedError: It holds a line break, another control character, or half a surrogate pair.
    """
    if _NEVER_IN_A_VALUE.search(value):
        raise HeaderNotAllowedError(f"the value of [{name}] holds a line break or another control character")


def check_headers(headers: Iterable[tuple[str, str]]) -> None:
    """Refuse the headers of one call unless all of them may be sent.

    Raises:
        HeaderNotAllowedError: One may not, comes twice, or all together are too large.
    """
    size = 0
    seen: set[str] = set()
    for name, value in headers:
        check_name(name)
        check_value(name, value)
        if name.lower() in seen:
            raise HeaderNotAllowedError(f"[{name}] is there twice")
        seen.add(name.lower())
        size += len(name) + len(value)
    if size > _MAX_HEAD:
        raise HeaderNotAllowedError(f"they are larger than {_MAX_HEAD} bytes")


def excerpt(text: str) -> str:
    """Return the beginning of a text on one line, as a message may repeat it."""
    return printable(text[:_MAX_EXCERPT])
