"""Paths of the admin listener beyond its own, which are handed to it before it starts."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

HTML: Final = "text/html"


@dataclass(frozen=True, slots=True)
class AdminRoute:
    """One method of one path.

    Attributes:
        shell: It is a file of the program and tells nothing of this proxy: it is answered without a token, so
            that a browser can show the page that asks for the token.
        searches: It reaches Elasticsearch: it is answered only where `admin.playground` lets it.
        lasts_s: Seconds that a connection may last from the request on; None, as long as any other.
    """

    method: str
    path: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    shell: bool = False
    searches: bool = False
    lasts_s: Callable[[], float] | None = None


def takes_html(request: web.Request) -> bool:
    """Return whether a browser asks, to show the answer to a person."""
    accepted = (part.partition(";")[0].strip() for part in request.headers.get("Accept", "").split(","))
    return HTML in accepted
