"""What the pages add to the admin listener."""

from collections.abc import Sequence

from aiohttp import web

from rerank_proxy.observe.admin_routes import AdminRoute
from rerank_proxy.pages.assets import answer
from rerank_proxy.pages.playground import Playground
from rerank_proxy.pages.status import StatusData


def routes(playground: Playground, status: StatusData) -> Sequence[AdminRoute]:
    """Return the paths of the pages, of their files, and of what they ask for."""

    async def home(request: web.Request) -> web.Response:
        return answer(request, "playground.html")

    async def status_page(request: web.Request) -> web.Response:
        return answer(request, "status.html")

    async def asset(request: web.Request) -> web.Response:
        return answer(request, request.match_info["name"])

    return [
        AdminRoute("GET", "/", home, shell=True),
        AdminRoute("GET", "/status", status_page, shell=True),
        AdminRoute("GET", "/pages/{name}", asset, shell=True),
        AdminRoute("GET", "/status.json", status.answer),
        AdminRoute(
            "POST", "/playground/request", playground.request, searches=True, lasts_s=playground.lasts_s
        ),
    ]
