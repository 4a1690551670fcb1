"""A client's connection whose requests may have a line in the access log.

Connections are made of this class while that is on; the one it is derived from counts nothing but requests.
"""

import asyncio
from typing import Any

from rerank_proxy.edge.connection import ClientConnection
from rerank_proxy.edge.ports import Ended
from rerank_proxy.edge.shared import Shared
from rerank_proxy.http.head import RequestHead
from rerank_proxy.observe import request_id
from rerank_proxy.observe.access_log import Access
from rerank_proxy.observe.edge_metrics import RequestKind
from rerank_proxy.observe.named import named


class ObservedConnection(ClientConnection):
    """Counts the bytes of each request and of its answer, and tells the access log of its end."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._received = self._sent = 0
        self._received_before = self._sent_before = 0  # the request under way
        self._address: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer: Any = transport.get_extra_info("peername")
        self._address = str(peer[0]) if isinstance(peer, tuple) else None
        write = self.write

        def counted(data: bytes) -> None:
            self._sent += len(data)
            write(data)

        self.write = counted

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        super().data_received(data)

    def _start(self, request: RequestHead) -> None:
        self._received_before = self._received - len(self._inbox) - len(request.raw)
        self._sent_before = self._sent
        super()._start(request)

    def finished(self, kind: RequestKind, status: int, by: Ended, ended: str | None = None) -> float:
        seconds = super().finished(kind, status, by, ended)
        log = self._shared.access
        if log is not None and log.may_have_line(status, seconds, cut=ended == "cut"):
            log.request(self._access(kind, status, seconds, by, ended))
        # A head that cannot be read begins here.
        self._received_before, self._sent_before = self._received - len(self._inbox), self._sent
        return seconds

    def _access(self, kind: RequestKind, status: int, seconds: float, by: Ended, ended: str | None) -> Access:
        request, told = by.request, by.told
        names = None if request is None else named(request.fields.raw)
        given = None if names is None else names.request_id
        received = self._received - self._received_before
        if request is not None:  # else all of it belongs to a head that cannot be read
            received -= len(self._inbox)
            if not request.chunked:
                received = min(received, len(request.raw) + (request.length or 0))
        return Access(
            kind=kind,
            status=status,
            seconds=seconds,
            method=None if request is None else request.method.decode("ascii"),
            target=b"" if request is None else request.target,
            http10=request is not None and request.http10,
            received=received,
            sent=self._sent - self._sent_before,
            ended=ended,
            client=self._address,
            node=by.node,
            reason=by.reason or (None if told is None else told.reason),
            outcome=None if told is None else told.outcome,
            times=by.times(),
            request_id=by.request_id or given or request_id.new(),
            opaque_id=None if names is None else names.opaque_id,
            trace_id=(told and told.trace_id) or (names and names.trace_id),
        )
