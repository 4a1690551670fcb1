"""`POST /clicks` of the admin listener: what an application tells of its users, handed to the application
process of the proxy, which has the searches in its memory.
"""

from typing import Final

from aiohttp import web

from rerank_proxy.errors import ElasticsearchError, encode, error
from rerank_proxy.observe.admin_bodies import json_body
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
            answer = await app.post("/clicks", await json_body(request, MAX_BODY))
            if answer is None:
                raise error(503, "status_exception", "the reranking process does not answer: try again")
        except ElasticsearchError as failure:
            answer = failure.status, encode(failure.body())
        status, body = answer
        return web.Response(
            status=status, body=body, content_type="application/json", headers={"Cache-Control": "no-store"}
        )

    return AdminRoute("POST", "/clicks", clicks)
