"""`GET /status.json`: how the proxy is, for the page that shows it. Bounded, and without secrets."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from aiohttp import web

from rerank_proxy import __version__
from rerank_proxy.observe.control import ControlClient
from rerank_proxy.observe.nodes import NodeState
from rerank_proxy.pages.assets import DATA
from rerank_proxy.settings import Settings
from rerank_proxy.settings.effective import changed

_MAX_NODES: Final = 200
_MAX_SETTINGS: Final = 500
_EMPTY: Final = msgspec.Raw(b"[]")


class _OfApp(msgspec.Struct):
    """What the application tells, which passes through as it is."""

    models: msgspec.Raw = _EMPTY
    engine: msgspec.Raw = msgspec.Raw(b"{}")
    endpoints: msgspec.Raw = _EMPTY
    online: msgspec.Raw = msgspec.Raw(b"{}")
    recent: msgspec.Raw = _EMPTY


class StatusData:
    """Answers it.

    Args:
        app: The control socket of the application.
        not_ready: Says why the proxy is not ready; None if it is.
        nodes: The nodes of upstream.
        settings: Those in force.
    """

    def __init__(
        self,
        app: ControlClient,
        not_ready: Callable[[], Awaitable[str | None]],
        nodes: Callable[[], list[NodeState]],
        settings: Callable[[], Settings],
    ) -> None:
        self._app = app
        self._not_ready = not_ready
        self._nodes = nodes
        self._settings = settings
        self._started_at = datetime.now(UTC).isoformat(timespec="seconds")

    async def answer(self, request: web.Request) -> web.Response:
        """Return the answer."""
        told, reason = await asyncio.gather(self._app.get("/status"), self._not_ready())
        body = {
            "version": __version__,
            "started_at": self._started_at,
            "ready": reason is None,
            "reason": reason,
            **msgspec.structs.asdict(_of_app(told)),
            "upstream": self._nodes()[:_MAX_NODES],
            "settings": self._changed()[:_MAX_SETTINGS],
        }
        return web.Response(body=msgspec.json.encode(body), headers=DATA)

    def _changed(self) -> list[dict[str, Any]]:
        rows = changed(self._settings())
        return [{"name": name, "value": value, "default": default} for name, value, default in rows]


def _of_app(told: tuple[int, bytes] | None) -> _OfApp:
    try:
        return msgspec.json.decode(told[1], type=_OfApp) if told is not None and told[0] == 200 else _OfApp()
    except msgspec.DecodeError:
        return _OfApp()
