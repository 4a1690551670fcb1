"""One connection of a client: its requests, one after the other.

How long a client may take: a head must be complete within `answers.ARRIVAL_S` of its first byte, and so must
each next piece of a buffered body (the edge's timer calls `give_up_waiting`). A body that is streamed, and a
client that reads slowly, may take any time; an idle connection stays open. A client that was answered before
its request was complete is read for `LINGER_S`, or for as long as it reads its answer. How long upstream may
take to answer is not limited; connecting to it is, by `upstream.connect_timeout_s`.
"""

import asyncio
import select
import socket
import struct
from collections.abc import Callable
from time import perf_counter
from typing import cast

from rerank_proxy.edge import answers
from rerank_proxy.edge.ended import Refused
from rerank_proxy.edge.exchange import Exchange
from rerank_proxy.edge.inspection import BufferedRequest, is_seen_through
from rerank_proxy.edge.node_addresses import public_address
from rerank_proxy.edge.ports import Ended, Handler
from rerank_proxy.edge.router import is_more_than_relayed, route_of
from rerank_proxy.edge.shared import Shared
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.http.framing import Body, request_body
from rerank_proxy.http.head import HeadError, RequestHead, parse_request
from rerank_proxy.http.inbox import HeadTooLongError, Inbox
from rerank_proxy.observe.edge_metrics import RequestKind
from rerank_proxy.observe.named import named
from rerank_proxy.settings import Address
from rerank_proxy.upstream.node import Node

MAX_PIPELINED = 64 * 1024
"""Bytes of further requests that are read while one is under way; the last read may exceed it."""
LINGER_BYTES = 64 * 1024 * 1024
LINGER_S = 10.0
"""How many bytes, and for how long, a client is still read that was answered before its request was complete.
"""

# Reasons why reading is paused, as bits: several may hold.
_FOR_UPSTREAM = 1
_FOR_PIPELINE = 2

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class ClientConnection(asyncio.Protocol):
    """Splits what the client sends into requests and hands each to its handler. Implements `ports.Client`."""

    _transport: asyncio.Transport
    write: Callable[[bytes], None]
    node: Node | None = None
    _opened_at = 0.0
    _linger_bytes = 0
    _linger_timer: asyncio.TimerHandle | None = None

    def __init__(self, shared: Shared) -> None:
        self.blocked = False
        self.began = 0.0
        self.waiting_since: float | None = None
        self._shared = shared
        self._inbox = Inbox()
        self._handler: Handler | None = None
        self._paused = 0
        self._closing = False

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.write = self._transport.write
        self._opened_at = self._shared.loop.time()
        self._shared.clients.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        self._drop_handler()
        self._inbox = Inbox()
        self._shared.clients.discard(self)
        self._shared.client_left()

    def eof_received(self) -> bool:
        # Like Elasticsearch, take the end of the input for the end of the client, and cancel.
        if self._handler is not None:
            self._drop_handler()
            self._transport.abort()
        return False

    def data_received(self, data: bytes) -> None:
        if self._closing:
            self._discard(data)
            return
        if self._handler is None:
            self._inbox.append(data)
            self._next_request()
            return
        if self._handler.reading:
            used = self._handler.body_received(data, 0)
            if used == len(data) or self._closing:
                return
            data = data[used:]
        self._inbox.append(data)
        if self._handler is None:
            self._next_request()
        elif len(self._inbox) >= MAX_PIPELINED:
            self._pause_reading(_FOR_PIPELINE)

    def pause_writing(self) -> None:
        self.blocked = True
        if self._handler is not None:
            self._handler.client_blocked()

    def resume_writing(self) -> None:
        self.blocked = False
        if self._handler is not None:
            self._handler.client_unblocked()

    # Requests

    def _next_request(self) -> None:
        """Start the next request of the inbox, if its head is complete."""
        inbox, limit = self._inbox, self._shared.settings.max_head
        inbox.skip_empty_lines()
        try:
            raw = inbox.take_head(limit)
            request = None if raw is None else parse_request(raw)
        except HeadTooLongError:
            self.refuse(answers.head_too_long(limit))
        except HeadError as problem:
            self.refuse(answers.malformed(problem.reason, problem.status))
        else:
            if request is not None:
                self.waiting_since = None
                self._start(request)
            elif inbox and self.waiting_since is None:
                self.waiting_since = self._shared.loop.time()
        if self._paused & _FOR_PIPELINE and len(self._inbox) < MAX_PIPELINED:
            self._resume_reading(_FOR_PIPELINE)

    def _start(self, request: RequestHead) -> None:
        self.began = perf_counter()
        if request.method == b"CONNECT":
            self.refuse(answers.method_not_supported("CONNECT"), request=request)
            return
        body = request_body(request)
        handler: Handler
        if not is_more_than_relayed(request.target):
            handler = Exchange(self, self._shared, request, "plain", body)
        else:
            handler = self._special_handler(request, body)
        self._handler = handler
        inbox = self._inbox
        inbox.at = handler.begin(inbox.block, inbox.at)
        # What came during an earlier request may lie in two blocks.
        if body is None:
            return
        while self._handler is not None and self._handler.reading and inbox.next_block():
            inbox.at = self._handler.body_received(inbox.block, 0)

    def _special_handler(self, request: RequestHead, body: Body | None) -> Handler:
        shared = self._shared
        route = route_of(request.method, request.target, trained_models=shared.trained_models)
        if route.is_inspected and not request.fields.expects_other:
            inbox = self._inbox
            if is_seen_through(request, route, shared.room(), inbox.block, inbox.at):
                return Exchange(self, shared, request, "search", body)
            return BufferedRequest(self, shared, request, route, body)
        address = None
        if route.names_addresses and shared.settings.rewrite_node_addresses:
            address = self._public_address(request)
        return Exchange(self, shared, request, "plain", body, address=address)

    def _public_address(self, request: RequestHead) -> bytes:
        """Return where the client can reach the proxy again."""
        if self._shared.settings.public_address is not None:
            return str(self._shared.settings.public_address).encode()
        host, port = self._transport.get_extra_info("sockname")[:2]
        secure = self._transport.get_extra_info("ssl_object") is not None
        secure = secure or request.field(b"x-forwarded-proto") == b"https"
        return public_address(request, Address(host, port), secure=secure)

    def replace_handler(self, handler: Handler) -> None:
        self._handler = handler

    def request_done(self, request: RequestHead, *, close: bool) -> None:
        self._handler = None
        if self._paused:
            self.resume_reading_for_upstream()
        if not close:
            if self._inbox:
                self._next_request()
            elif self._shared.draining:
                self._close()
        elif request.keep_alive or self._inbox:
            self.linger()
        else:
            self._close()

    def refuse(
        self, failure: ElasticsearchError, kind: RequestKind = "plain", request: RequestHead | None = None
    ) -> None:
        """Answer with an error, count it, and close: where the next request would begin is not known."""
        if request is None:
            waited_s = 0.0 if self.waiting_since is None else self._shared.loop.time() - self.waiting_since
            self.began = perf_counter() - waited_s  # as the head did
        fields = b"" if request is None else self._shared.origins.known(request).fields
        self.write(answers.render(failure, close=True, request=request, fields=fields))
        self.finished(kind, failure.status, Refused(request, failure.cause.type))
        self.linger()

    def finished(self, kind: RequestKind, status: int, by: Ended, ended: str | None = None) -> float:
        seconds = perf_counter() - self.began
        request = by.request if kind == "rerank" else None
        trace_id = None if request is None else named(request.fields.raw).trace_id
        self._shared.metrics.request(kind, status, seconds, trace_id)
        return seconds

    def _drop_handler(self) -> None:
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.client_lost()

    # Flow control

    def pause_reading_for_upstream(self) -> None:
        self._pause_reading(_FOR_UPSTREAM)

    def resume_reading_for_upstream(self) -> None:
        self._resume_reading(_FOR_UPSTREAM)

    def _pause_reading(self, reason: int) -> None:
        if not self._paused and not self._transport.is_closing():
            self._transport.pause_reading()
        self._paused |= reason

    def _resume_reading(self, reason: int) -> None:
        if self._paused and not self._paused & ~reason and not self._transport.is_closing():
            self._transport.resume_reading()
        self._paused &= ~reason

    # Ends

    def linger(self) -> None:
        """Close after what was written, but let the client finish sending first.

        Closing with unread input would reset the connection, and the client might never read its answer
        (RFC 9112 §9.6).
        """
        self._closing = True
        self._handler = None
        self._inbox = Inbox()
        self.waiting_since = None
        self._resume_reading(_FOR_UPSTREAM | _FOR_PIPELINE)
        if self._transport.is_closing():
            return
        self._transport.write_eof()
        self._linger_timer = self._shared.loop.call_later(LINGER_S, self._linger_expired)

    def _linger_expired(self) -> None:
        if self._transport.get_write_buffer_size():
            # The client has not read all of its answer yet; that may take any time.
            self._linger_timer = self._shared.loop.call_later(LINGER_S, self._linger_expired)
        else:
            self._transport.abort()

    def _discard(self, data: bytes) -> None:
        self._linger_bytes += len(data)
        if self._linger_bytes > LINGER_BYTES:
            self._transport.abort()

    def truncate(self, *, reset: bool) -> None:
        """Close in the middle of an answer.

        Args:
            reset: The answer would end with its connection, so that only a reset shows that it is cut short.
        """
        self._closing = True
        self._handler = None
        if reset and not self._transport.is_closing():
            sock: socket.socket = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()
        else:
            self._close()

    def _close(self) -> None:
        self._closing = True
        self._transport.close()

    def close_if_idle(self, before: float) -> None:
        """Close a connection without a request, unless one has arrived and was not read yet.

        Args:
            before: Loop time. A connection that was opened since then stays open, because its first request
                is on its way, and so does one that was answered since then, whose client may still send.
        """
        if self._linger_timer is not None:
            began = self._linger_timer.when() - LINGER_S
            if began <= before and not self._transport.get_write_buffer_size():
                self._transport.abort()
        elif self._is_idle() and self._opened_at <= before and not self._has_input():
            self._close()

    def _is_idle(self) -> bool:
        return self._handler is None and not self._inbox and not self._closing

    def _has_input(self) -> bool:
        sock: socket.socket = self._transport.get_extra_info("socket")
        input_ = select.poll()
        input_.register(sock.fileno(), select.POLLIN)
        return bool(input_.poll(0))

    def abort(self) -> None:
        """Close immediately, cutting off a request under way."""
        self._transport.abort()

    def give_up_waiting(self, before: float) -> None:
        """Refuse a head or a buffered body that has been awaited since before that loop time."""
        if self.waiting_since is None or self.waiting_since >= before:
            return
        if isinstance(self._handler, BufferedRequest):
            self._handler.give_up()
        else:
            self.refuse(answers.timed_out("request line and headers"))
