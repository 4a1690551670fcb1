"""`POST /clicks` of the admin listener: what an application tells of its users, handed to the application
process of the proxy, which has the searches in its memory.
"""

from typing import Final

from aiohttp import web

from rerank_proxy.errors import ElasticsearchError, encode, error
from rerank_proxy.observe.admin_routes import AdminRoute
from rerank_proxy.observe.control import ControlClient

MAX_BODY: Final = 256 * 1024
"""Bytes of a body."""


def clicks_route(app: ControlClient) -> AdminRoute:
    """Return what answers these requests, with what the application says of their bodies.

    Args:
        app: The control socket of the application.
    """

    async def clicks(request: web.Request) -> web.Response:
        try:
            answer = await app.post("/clicks", await _body(request))
            if answer is None:
                raise error(503, "status_exception", "the reranking process does not answer: try again")
        except ElasticsearchError as failure:
            answer = failure.status, encode(failure.body())
        status, body = answer
        return web.Response(
            status=status, body=body, content_type="application/json", headers={"Cache-Control": "no-store"}
        )

    return AdminRoute("POST", "/clicks", clicks)


async def _body(request: web.Request) -> bytes:
    """Return the body of a request, whose length has to be told before it is read.

    So there is no malformed one, of which the library would log a traceback; and a form on another site's
    page cannot send this type of content.
    """
    if request.content_type != "application/json" or "Content-Encoding" in request.headers:
        raise error(415, "illegal_argument_exception", "the clicks have to be plain [application/json]")
    if request.content_length is None:
        raise error(411, "illegal_argument_exception", "the clicks have to have a [Content-Length]")
    if request.content_length > MAX_BODY:
        raise error(413, "illegal_argument_exception", f"the clicks are more than [{MAX_BODY}] bytes")
    return await request.read()
