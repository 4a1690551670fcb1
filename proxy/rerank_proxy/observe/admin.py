"""Probes and metrics, on a separate port, since every path of the clients' port belongs to Elasticsearch.

`/live`: the event loop is running. `/ready`: requests will be answered, including reranked searches.
`/metrics`: the metrics of this process, of the others that serve the port, and of the application.
`/version`: the versions of the proxy, of Python, and of the libraries that run models. `/`: what is here.

`admin_access` says who is answered what. A request for any path but the first two reaches its handler only if
it may be answered everything.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client.core import Metric

from rerank_proxy.http import codings
from rerank_proxy.http.quiet_server import QuietServer
from rerank_proxy.observe.adding import Lasting, added
from rerank_proxy.observe.admin_access import CHALLENGE, Access, access_of
from rerank_proxy.observe.admin_routes import AdminRoute, takes_html
from rerank_proxy.observe.bounded import BoundedConnections
from rerank_proxy.observe.build import versions
from rerank_proxy.observe.control import ControlClient
from rerank_proxy.observe.edge_metrics import LOWEST_COUNTS, EdgeMetrics
from rerank_proxy.observe.exposition import exposed
from rerank_proxy.observe.families import families
from rerank_proxy.observe.log_limiter import LogLimiter
from rerank_proxy.observe.process_metrics import ProcessMetrics
from rerank_proxy.settings import AdminSettings

logger = logging.getLogger(__name__)

_INDEX = """rerank-proxy

/live     200 while the process runs
/ready    200 while searches can be reranked, else 503; the body says what is missing
/metrics  for Prometheus, in its text format or as OpenMetrics
/version  the version of the proxy, and of what it uses

In a browser, / is the playground, where searches are tried, and /status shows how the proxy is.
With online.enabled, POST /clicks takes what users have clicked.
"""
_MAX_CONNECTIONS = 32
_CONNECTION_S = 10.0
"""Seconds that a connection may last: probes and scrapers usually wait no longer."""
_STATUS_PATHS = ("/live", "/ready")
"""Paths whose status is for everyone."""


class ModelState(msgspec.Struct):
    """The state of a model: `unloaded`, `loading`, `ready` or `failed`."""

    state: str
    detail: str | None = None


class Readiness(msgspec.Struct):
    """The application's answer about its state; by default that of an application that does not answer."""

    ready: bool = False
    models: dict[str, ModelState] = {}
    missing_workers: int = 0
    """Workers of the engine that were lost and could not be replaced yet."""

    def reason(self) -> str | None:
        """Say why it is not ready, such as `model [minilm] failed: no such directory`; None if it is."""
        if self.ready:
            return None
        parts = []
        for name, model in self.models.items():
            if model.state in ("loading", "failed"):
                what = model.state if model.state == "failed" else f"is {model.state}"
                parts.append(f"model [{name}] {what}" + (f": {model.detail}" if model.detail else ""))
        if self.missing_workers:
            parts.append(f"{self.missing_workers} of the engine's workers cannot be started")
        return "; ".join(parts) or "the reranking process is starting or restarting"

    def body(self) -> dict[str, Any]:
        """Return what an answer about the state says in any case."""
        missing = {"missing_workers": self.missing_workers} if self.missing_workers else {}
        return {"models": self.models, **missing}


_STANDS_STILL = "the reranking process runs, but does not answer; it is started again if that goes on"

Connections = Callable[[], asyncio.Protocol]
"""Makes the protocol of a new connection."""


class Admin:
    """The admin listener.

    Args:
        metrics: Those of this process.
        edge: The metrics of the edge in this process.
        other_edges: The processes that serve the clients' port beside this one.
        not_ready: Says in a few words why this process does not accept requests; None if it does.
    """

    def __init__(
        self,
        app: ControlClient,
        metrics: ProcessMetrics,
        edge: EdgeMetrics,
        not_ready: Callable[[], str | None],
        other_edges: Sequence[ControlClient] = (),
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._edge = edge
        self._other_edges = other_edges
        self._lasting = [Lasting() for _ in other_edges]
        self._not_ready = not_ready
        self._server: QuietServer | None = None
        self._connections: BoundedConnections | None = None
        self._routes: dict[tuple[str, str], AdminRoute] = {}
        self._access = Access()
        self._bound: list[str] = []
        self._answering: int | None = None
        """The restarts before the process of the application that has answered last."""
        self._wrong_tokens = 0
        self._limiter = LogLimiter()

    def add(self, routes: Iterable[AdminRoute]) -> None:
        """Serve further paths, from the start on. One for `/` is for browsers: programs get the index."""
        self._routes |= {(each.method, each.path): each for each in routes}

    async def not_ready(self) -> str | None:
        """Return why the proxy is not ready; None if it is."""
        _, reason = await self._state()
        return reason

    def use(self, settings: AdminSettings) -> None:
        """Follow these settings about who is answered what."""
        access = access_of(settings, self._bound)
        if access.closed and not self._access.closed:
            logger.warning(
                "[admin.listen] can be reached from other machines and there is no [admin.token]: /metrics "
                "and the details of /ready are refused; set a token, or [admin.open: true]"
            )
        self._access = access

    async def start(
        self,
        sockets: Iterable[socket.socket],
        settings: AdminSettings,
        tls: Callable[[Connections], Connections] | None = None,
    ) -> None:
        """Serve on sockets that are already listening.

        Args:
            settings: They say who is answered what.
            tls: Puts TLS below the protocols of connections; None for plain HTTP.
        """
        sockets = list(sockets)
        self._bound = [listener.getsockname()[0] for listener in sockets]
        self.use(settings)
        app = web.Application(middlewares=[_answer_once, self._guard])
        app.router.add_get("/", self._index)
        for route in self._routes.values():
            if route.path != "/":
                app.router.add_route(route.method, route.path, route.handler)
        app.router.add_get("/version", self._version)
        app.router.add_get("/live", self._live)
        app.router.add_get("/ready", self._ready)
        app.router.add_get("/metrics", self._render_metrics)
        # No body is read but where a route wants it: of a malformed one the library would log a traceback.
        self._server = QuietServer(app, shutdown_timeout=1.0, handler_cancellation=True, lingering_time=0)
        await self._server.start()
        plain = self._server.connection
        protocols = plain if tls is None else tls(plain)
        self._connections = BoundedConnections(protocols, _MAX_CONNECTIONS, _CONNECTION_S)
        for listener in sockets:
            await self._server.listen(listener, self._connections)

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse what is not for everyone; paths that do not exist, too, so that none can be found out."""
        route = self._route(request)
        shell = route is not None and route.shell
        searches = route is not None and route.searches
        refusal = (
            None
            if request.path in _STATUS_PATHS
            else self._access.refusal(request.headers, shell=shell, searches=searches)
        )
        if refusal is None:
            if route is not None and route.lasts_s is not None:
                self._let_last(request, route.lasts_s())
            return await handler(request)
        response = _json(refusal.status, refusal.body())
        if refusal.status == 401:
            response.headers["WWW-Authenticate"] = CHALLENGE
            self._log_wrong_token(request)
        return response

    def _route(self, request: web.Request) -> AdminRoute | None:
        """Return which of the further paths is asked for; None for one of the listener's own."""
        resource = request.match_info.route.resource
        if resource is None:
            return None
        if resource.canonical == "/" and not takes_html(request):
            return None
        method = "GET" if request.method == "HEAD" else request.method
        return self._routes.get((method, resource.canonical))

    def _let_last(self, request: web.Request, seconds: float) -> None:
        if self._connections is not None and request.transport is not None:
            self._connections.extend(request.transport, seconds)

    def _log_wrong_token(self, request: web.Request) -> None:
        if "Authorization" not in request.headers:
            return
        self._wrong_tokens += 1
        if self._limiter.admit("token") is not None:
            logger.warning(
                "the admin port was asked with a wrong token by %s; wrong tokens since the start: %d",
                request.remote,
                self._wrong_tokens,
            )

    async def _index(self, request: web.Request) -> web.StreamResponse:
        page = self._route(request)
        return web.Response(text=_INDEX) if page is None else await page.handler(request)

    async def _version(self, request: web.Request) -> web.Response:
        return _json(200, versions())

    async def _live(self, request: web.Request) -> web.Response:
        return _json(200, {"live": True})

    async def _ready(self, request: web.Request) -> web.Response:
        app, reason = await self._state()
        status = {"ready": reason is None}
        code = 200 if reason is None else 503
        refusal = self._access.refusal(request.headers)
        if refusal is not None:
            return _json(code, {**status, "details": refusal.cause.reason})
        why = {} if reason is None else {"reason": reason}
        return _json(code, {**status, **why, **app.body(), "upstream": self._edge.nodes()})

    async def _state(self) -> tuple[Readiness, str | None]:
        """Return the state of the application, and why the proxy is not ready; None if it is."""
        answer = await self._app.get("/ready")
        app, run = _read_readiness(answer), self._metrics.app_restarts
        if answer is not None:
            self._answering = run
        stands_still = answer is None and self._metrics.app_up and self._answering == run
        return app, self._not_ready() or (_STANDS_STILL if stands_still else app.reason())

    async def _render_metrics(self, request: web.Request) -> web.Response:
        others = asyncio.gather(*(each.metrics() for each in (self._app, *self._other_edges)))
        (_, reason), (app, *edges) = await asyncio.gather(self._state(), others)
        self._metrics.ready = reason is None
        groups: list[Sequence[Metric]] = [families(self._metrics, self._edge.registry), app]
        for lasting, answer in zip(self._lasting, edges, strict=True):
            groups += lasting.with_earlier(answer)
        accepted = (_joined(request, name) for name in ("Accept", "Accept-Encoding"))
        # Thousands of samples take some ten milliseconds, in which this process would relay nothing.
        return await asyncio.to_thread(_sums, groups, *accepted)


@web.middleware
async def _answer_once(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Close the connection after each answer: one that is kept would time out, perhaps during a request."""
    response = await handler(request)
    response.force_close()
    return response


def _sums(groups: Sequence[Sequence[Metric]], accept: str, accept_encoding: str) -> web.Response:
    """Return the answer with the sums of several processes, in the form that the scraper accepts."""
    body, content_type = exposed(added(groups, LOWEST_COUNTS), accept)
    headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
    if (coding := codings.choose(accept_encoding)) is not None:
        body = codings.encode(body, coding)
        headers["Content-Encoding"] = coding
    return web.Response(body=body, headers=headers)


def _joined(request: web.Request, header: str) -> str:
    """Return the value of a header that may be there several times (RFC 9110, 5.3)."""
    return ",".join(request.headers.getall(header, []))


def _read_readiness(answer: tuple[int, bytes] | None) -> Readiness:
    try:
        return msgspec.json.decode(answer[1], type=Readiness) if answer else Readiness()
    except msgspec.DecodeError:
        return Readiness()


def _json(status: int, body: dict[str, Any]) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")
