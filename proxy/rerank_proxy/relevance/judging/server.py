"""The page of a person at work, on an address of this machine.

Who may use it: the window that shows a session (`sessions.py`), of a page of this very server (`Origin`,
`Sec-Fetch-Site`), under a name that is this machine's (`Host`), as on the admin listener. The page and what
it is made of hold nothing of anyone, and are for everyone.
"""

import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from rerank_proxy.errors import ElasticsearchError, error
from rerank_proxy.http.quiet_server import QuietServer
from rerank_proxy.observe.admin_access import Access
from rerank_proxy.observe.admin_bodies import json_body
from rerank_proxy.observe.bounded import BoundedConnections
from rerank_proxy.pages import assets
from rerank_proxy.relevance.client.searching import RefusedError, UnreachableError
from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.judging.desk import Desk, UnknownError
from rerank_proxy.relevance.judging.sessions import Sessions

logger = logging.getLogger(__name__)

HOST: Final = "127.0.0.1"
SESSION: Final = "X-Judge-Session"
"""The header that shows a session."""

_MAX_BODY: Final = 16 * 1024
_MAX_CONNECTIONS: Final = 64
_CONNECTION_S: Final = 120.0
"""Seconds that a connection may last: longer than a search for texts may take."""
_ACCESS: Final = Access()
_OPEN: Final = ("/", "/session")


class Key(msgspec.Struct, frozen=True):
    """The body by which a page opens a session."""

    key: str


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body by which a page saves what a person says of a document: a grade, that the person is unsure, or
    neither, which takes back what was said.
    """

    query: str
    document: str
    grade: int | None = None
    unsure: bool = False


class JudgingServer:
    """Serves the page.

    Args:
        announce: Called with the address of each new key, which opens one window.
    """

    def __init__(self, desk: Desk, announce: Callable[[str], None]) -> None:
        self._desk = desk
        self._say = announce
        self._sessions: Sessions | None = None
        self._server: QuietServer | None = None
        self.port = 0

    async def start(self, port: int) -> None:
        """Listen, and announce the address.

        Args:
            port: 0 for any that is free.

        Raises:
            OSError: The port is taken.
        """
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((HOST, port))
            listener.listen()
        except OSError:
            listener.close()
            raise
        self.port = listener.getsockname()[1]
        self._sessions = Sessions(lambda key: self._say(f"http://{HOST}:{self.port}/#{key}"))
        self._server = QuietServer(self._app(), shutdown_timeout=5.0, lingering_time=0)
        await self._server.start()
        await self._server.listen(
            listener, BoundedConnections(self._server.connection, _MAX_CONNECTIONS, _CONNECTION_S)
        )

    async def stop(self) -> None:
        """Stop; grades that are being saved are saved."""
        if self._server is not None:
            await self._server.stop()

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[_told, self._guard])
        app.router.add_get("/", self._page)
        app.router.add_get("/pages/{name}", self._asset)
        app.router.add_post("/session", self._open)
        app.router.add_get("/pool", self._work)
        app.router.add_get("/pool/query", self._query)
        app.router.add_put("/judgments", self._judge)
        app.router.add_get("/conflicts", self._conflicts)
        app.router.add_get("/conflicts/query", self._conflict)
        app.router.add_put("/resolutions", self._resolve)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse pages of other sites, other names, and windows without a session."""
        if _ACCESS.refusal(request.headers) is not None:
            raise error(
                403,
                "security_exception",
                "the request comes from a page of another site, or names a host that is neither an address "
                "nor localhost",
            )
        if request.path not in _OPEN and not request.path.startswith("/pages/"):
            shown = request.headers.getall(SESSION, [])
            assert self._sessions is not None
            if len(shown) != 1 or not self._sessions.knows(shown[0]):
                raise error(
                    401,
                    "security_exception",
                    "this window has no session: open the newest address that the terminal shows",
                )
        return await handler(request)

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return assets.answer(request, "judge.html")

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        return assets.answer(request, request.match_info["name"])

    async def _open(self, request: web.Request) -> web.StreamResponse:
        given = await _read(request, Key)
        assert self._sessions is not None
        session = self._sessions.open(given.key)
        if session is None:
            logger.warning("a window was refused: its address was used before, or is another one's")
            raise error(
                403,
                "security_exception",
                "this address was used before: open the newest address that the terminal shows",
            )
        return _json({"session": session})

    async def _work(self, request: web.Request) -> web.StreamResponse:
        return _json(self._desk.work())

    async def _query(self, request: web.Request) -> web.StreamResponse:
        return _json(await self._desk.query(_id(request)))

    async def _conflicts(self, request: web.Request) -> web.StreamResponse:
        return _json(await self._desk.conflicts())

    async def _conflict(self, request: web.Request) -> web.StreamResponse:
        return _json(await self._desk.conflict(_id(request)))

    async def _judge(self, request: web.Request) -> web.StreamResponse:
        return await _saved(request, self._desk.grade)

    async def _resolve(self, request: web.Request) -> web.StreamResponse:
        return await _saved(request, self._desk.resolve)


async def _saved(request: web.Request, save: Callable[..., Awaitable[Any]]) -> web.StreamResponse:
    said = await _read(request, Said)
    return _json({"query": await save(said.query, said.document, said.grade, unsure=said.unsure)})


@web.middleware
async def _told(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what goes wrong in Elasticsearch's shape."""
    try:
        response = await handler(request)
    except ElasticsearchError as failure:
        response = _json(failure.body(), failure.status)
    except UnknownError as failure:
        response = _failed(404, "resource_not_found_exception", failure)
    except RefusedError as failure:
        response = _failed(502, "elasticsearch_exception", f"the proxy {failure}")
    except UnreachableError as failure:
        response = _failed(502, "elasticsearch_exception", failure)
    except RelevanceError as failure:
        response = _failed(500, "illegal_state_exception", failure)
    response.force_close()
    return response


def _failed(status: int, kind: str, failure: Exception | str) -> web.Response:
    return _json(error(status, kind, str(failure)).body(), status)


async def _read(request: web.Request, kind: type[Any]) -> Any:
    """Return the body of a request.

    Raises:
        ElasticsearchError: It is not JSON of this kind.
    """
    body = await json_body(request, _MAX_BODY)
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as failure:
        raise error(400, "illegal_argument_exception", f"the body cannot be read: {failure}") from None


def _id(request: web.Request) -> str:
    given = request.query.getall("id", [])
    if len(given) != 1:
        raise error(400, "illegal_argument_exception", "expected the id of one query, as ?id=…")
    return given[0]


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, headers=assets.DATA)
