"""A request that the application may have to answer: it is held until it is known where it goes."""

import asyncio
import logging
from typing import TYPE_CHECKING

from proxy.edge import answers
from proxy.edge.exchange import Exchange
from proxy.edge.framing import Body, FramingError, content
from proxy.edge.head import RequestHead
from proxy.edge.mention import Mention, find_in_body, find_in_query
from proxy.edge.router import (
    follows_up,
    is_inference,
    is_other_inference,
    is_search_template,
    is_trained_models,
    query_of,
)
from proxy.edge.state import EdgeState
from proxy.errors import ElasticsearchError
from proxy.observe.metrics import CLIENT_CLOSED, Kind

if TYPE_CHECKING:
    from proxy.edge.connection import ClientConnection

logger = logging.getLogger(__name__)

INLINE_BYTES = 1024 * 1024
"""Decoded bytes that are looked at on the event loop, about a millisecond's work; more goes to a thread."""
INLINE_CODED_BYTES = 16 * 1024
"""The same for a compressed body, before decoding."""

_JOIN_BYTES = 16 * 1024


class HeldRequest:
    """Collects the body, looks into it, and becomes an `Exchange` with upstream or with the application."""

    reading = False
    _size = 0
    _gone = False

    def __init__(
        self, client: "ClientConnection", state: EdgeState, request: RequestHead, body: Body | None
    ) -> None:
        self._client = client
        self._state = state
        self._request = request
        self._body = body
        self._chunks: list[bytes] = []

    def begin(self, data: bytes, start: int) -> int:
        """Take what arrived together with the head; returns where the request stops in `data`."""
        limit = self._state.settings.max_body
        if self._request.length is not None and self._request.length > limit:
            self._refuse(answers.body_too_long(limit))
            return len(data)
        if self._body is None:
            self._look()
            return start
        end = self.body_received(data, start)
        if self.reading and self._request.expects_continue:
            self._client.write(answers.CONTINUE)
        return end

    def body_received(self, data: bytes, start: int) -> int:
        assert self._body is not None
        try:
            end = self._body.feed(data, start)
        except FramingError as problem:
            self._refuse(answers.malformed(f"the body: {problem}"))
            return len(data)
        size = end - start
        if self._size + size > self._state.settings.max_body:
            self._refuse(answers.body_too_long(self._state.settings.max_body))
            return len(data)
        if not self._state.reserve(size):
            self._refuse(answers.too_much_buffered(self._state.settings.max_buffered))
            return len(data)
        self._size += size
        self._keep(data[start:end])
        self.reading = not self._body.done
        if self.reading:
            self._client.waiting_since = self._state.loop.time()
        else:
            self._client.waiting_since = None
            self._look()
        return end

    def _keep(self, piece: bytes) -> None:
        # Small pieces are joined: as an object of its own, each costs tens of bytes that nobody counts.
        if self._chunks and len(self._chunks[-1]) + len(piece) <= _JOIN_BYTES:
            self._chunks[-1] += piece
        else:
            self._chunks.append(piece)

    def _refuse(self, failure: ElasticsearchError) -> None:
        self._drop()
        self._client.refuse(failure, "search", self._request)

    def _look(self) -> None:
        """Decide whether the application gets this search; on a thread where that takes long."""
        request = self._request
        limit = self._state.settings.max_body
        mention = self._in_target()
        if mention is not Mention.UNKNOWN:
            pass
        elif self._size <= (INLINE_CODED_BYTES if request.coding else INLINE_BYTES):
            mention = self._find(min(INLINE_BYTES, limit))
        if mention is not Mention.UNKNOWN:
            self._forward(mention)
        else:
            self._state.loop.run_in_executor(None, self._find, limit).add_done_callback(self._found)

    def _in_target(self) -> Mention:
        """What the request line says by itself, whatever the body is."""
        method, target = self._request.method, self._request.target
        if is_trained_models(method, target):  # which is held only where it may be the application's
            return Mention.YES
        if is_inference(method, target):
            return Mention.PERHAPS if is_other_inference(target) else Mention.YES
        if follows_up(method, target) or (b"?" in target and find_in_query(query_of(target))):
            return Mention.YES
        return Mention.UNKNOWN

    def _find(self, limit: int) -> Mention:
        pieces = content(self._chunks, chunked=self._request.chunked)
        is_template = is_search_template(self._request.target)
        return find_in_body(pieces, self._request.coding, limit, is_template=is_template)

    def _found(self, future: asyncio.Future[Mention]) -> None:
        if self._gone or future.cancelled():
            return
        if (problem := future.exception()) is not None:
            # Out of memory, for example. Upstream knows what to answer.
            logger.error("a search body could not be looked into: %r", problem)
            self._forward(Mention.UNKNOWN)
        else:
            self._forward(future.result())

    def _forward(self, mention: Mention) -> None:
        """What could not be decided (a decompression bomb) is upstream's to refuse."""
        kind: Kind = "rerank" if mention in (Mention.YES, Mention.PERHAPS) else "search"
        optional = mention is Mention.PERHAPS
        exchange = Exchange(self._client, self._state, self._request, kind, optional=optional)
        self._client.replace_handler(exchange)
        exchange.start(self._chunks, self._size)

    def give_up(self) -> None:
        """The rest of the body does not come."""
        self._refuse(answers.timed_out("body of a search"))

    def client_lost(self) -> None:
        self._drop()
        self._state.metrics.request("search", CLIENT_CLOSED)

    def _drop(self) -> None:
        self._gone = True
        self._state.free(self._size)
        self._size = 0
        self._chunks = []

    def client_blocked(self) -> None:
        pass

    def client_unblocked(self) -> None:
        pass
