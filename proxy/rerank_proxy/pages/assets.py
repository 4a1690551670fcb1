"""The files that the pages consist of. They are part of the program, and tell nothing of a proxy.

A page shows texts that anyone may have indexed. What the browser is told here is a second wall behind the
scripts' own care: nothing that is not one of these files runs or is loaded, nothing is sent anywhere but to
this port, and text never becomes markup (trusted types).
"""

import hashlib
import re
from pathlib import Path
from typing import Final

from aiohttp import web

from rerank_proxy.errors import encode, error

STATIC: Final = Path(__file__).with_name("static")
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
SAFE: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers of every answer of the pages."""
_PAGE: Final = {
    **SAFE,
    "Cache-Control": "no-cache",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",  # a page that has opened this one has no hold on its window
}
DATA: Final = {**SAFE, "Cache-Control": "no-store", "Content-Type": "application/json"}
"""Those of an answer that is not a file."""
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]*(\.[a-z]+)")


def answer(request: web.Request, name: str) -> web.Response:
    """Return a file, or 304 where the browser has it; 404 where there is none of that name."""
    match = _NAME.fullmatch(name)
    content_type = None if match is None else _TYPES.get(match[1])
    try:
        if content_type is None:
            raise FileNotFoundError
        body = (STATIC / name).read_bytes()
    except OSError:
        failure = error(404, "resource_not_found_exception", "the pages have no such file")
        return web.Response(status=404, body=encode(failure.body()), content_type="application/json")
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {**_PAGE, "ETag": tag}
    if request.headers.get("If-None-Match") == tag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers={**headers, "Content-Type": content_type})
