"""A request that the application may have to answer: it is held until it is known where it goes."""

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from rerank_proxy.edge import answers
from rerank_proxy.edge.cors import OriginAnswer
from rerank_proxy.edge.detection import Mention, Scanner, find_in_query
from rerank_proxy.edge.exchange import Exchange
from rerank_proxy.edge.router import (
    follows_up,
    is_inference,
    is_other_inference,
    is_search_template,
    is_trained_models,
    query_of,
)
from rerank_proxy.edge.shared import EdgeState
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.http.framing import Body, FramingError, content
from rerank_proxy.http.head import RequestHead
from rerank_proxy.http.inflate import SNAPPY, CodingError, decompress, is_compressed
from rerank_proxy.http.inflation import decoded_limit
from rerank_proxy.observe.metrics import CLIENT_CLOSED, Kind

if TYPE_CHECKING:
    from rerank_proxy.edge.connection import ClientConnection

logger = logging.getLogger(__name__)

INLINE_DECODED_BYTES = 64 * 1024
"""What is decoded and looked at on the event loop, at most a millisecond's work; more is done on a thread."""
INLINE_CODED_BYTES = 16 * 1024
"""The same before decoding."""
INLINE_SNAPPY_BYTES = 1024
"""The same of a body in Snappy, which is decoded in Python, and thus slowly."""
MAX_SNAPPY_BYTES = 8 * 1024 * 1024
"""Of such a body, before decoding."""

_JOIN_BYTES = 16 * 1024


class _Looked(NamedTuple):
    """What a compressed body holds, and its decoded bytes: beyond the limit it was not read further."""

    mention: Mention
    decoded: int


class HeldRequest:
    """Collects the body, looks into it, and becomes an `Exchange` with upstream or with the application.

    A body as it is gets looked into piece by piece while it comes, a compressed one when it is complete.
    """

    reading = False
    _size = 0  # bytes that the state counts as held
    _coded = 0  # bytes of content, without chunk framing
    _gone = False  # the client no longer waits for what is being looked into
    _is_refused = False
    _has_left = False  # the client

    def __init__(
        self, client: "ClientConnection", state: EdgeState, request: RequestHead, body: Body | None
    ) -> None:
        self._client = client
        self._state = state
        self._request = request
        self._body = body
        self._chunks: list[bytes] = []
        self._said = self._in_target()
        self._is_compressed = body is not None and is_compressed(request.coding)
        self._scanner = self._new_scanner()

    def _new_scanner(self) -> Scanner:
        content_type = self._request.field(b"content-type") or b""
        return Scanner(
            is_template=is_search_template(self._request.target), is_cbor=b"cbor" in content_type.lower()
        )

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
        if self._is_refused:
            return len(data)
        parts: list[bytes] = []
        try:
            end = self._body.feed(data, start, parts)
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
        self._look_at(parts)
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
        """Answer, as soon as it is known what upstream says to the origin."""
        self._drop()
        self._is_refused = True
        self._client.waiting_since = None
        self._state.origins.ask(self._request, lambda origin: self._answer(failure, origin))

    def _answer(self, failure: ElasticsearchError, origin: OriginAnswer) -> None:
        if not self._has_left:
            refusal = answers.origin_refused() if origin.refused else failure
            self._client.refuse(refusal, "search", self._request)

    def _look_at(self, parts: list[bytes]) -> None:
        """Look at the next parts of the content."""
        if self._is_compressed:
            self._coded += sum(map(len, parts))
        elif self._said is None:
            self._scanner.feed(parts[0] if len(parts) == 1 else b"".join(parts))

    def _look(self) -> None:
        """The request is complete: decide who gets it, on a thread where that takes long."""
        if not self._is_compressed:
            self._forward(self._said or self._scanner.mention)
            return
        is_snappy = self._request.coding == SNAPPY
        if is_snappy and self._coded > MAX_SNAPPY_BYTES:
            self._refuse(answers.snappy_too_long(MAX_SNAPPY_BYTES))
            return
        settings = self._state.settings
        limit = decoded_limit(self._coded, settings.max_inflation, settings.max_body)
        if self._coded <= (INLINE_SNAPPY_BYTES if is_snappy else INLINE_CODED_BYTES):
            at_once = min(INLINE_DECODED_BYTES, limit)
            looked = self._decode(at_once)
            if looked.decoded <= at_once or at_once == limit:
                self._decide(looked, limit)
                return
        looking = self._state.loop.run_in_executor(self._state.threads, self._decode, limit)
        looking.add_done_callback(lambda future: self._decoded(future, limit))

    def _decode(self, limit: int) -> _Looked:
        """Look into a compressed body and measure it, in pieces: nothing of it is kept."""
        scanner = self._new_scanner()
        decoded = 0
        pieces = content(self._chunks, chunked=self._request.chunked)
        with suppress(CodingError):  # the application or upstream refuses it
            for piece in decompress(pieces, self._request.coding):
                decoded += len(piece)
                if decoded > limit or self._gone:
                    break
                if self._said is None:
                    scanner.feed(piece)
        return _Looked(self._said or scanner.mention, decoded)

    def _decoded(self, future: asyncio.Future[_Looked], limit: int) -> None:
        if self._gone or future.cancelled():
            return
        if (problem := future.exception()) is not None:
            # Out of memory, for example. What gets it knows what to answer.
            logger.error("a body could not be looked into: %r", problem)
            self._forward(self._said or Mention.NO)
        else:
            self._decide(future.result(), limit)

    def _decide(self, looked: _Looked, limit: int) -> None:
        """The application will decode what it gets, so that its decoded bytes are those that count."""
        if looked.decoded > limit:
            if looked.mention is Mention.YES:
                self._refuse(answers.decoded_too_long(limit))
            else:
                self._forward(Mention.NO)  # a decompression bomb: upstream's to refuse
        elif looked.mention is Mention.NO or self._holds(looked.decoded):
            self._forward(looked.mention)
        else:
            self._refuse(answers.too_much_buffered(self._state.settings.max_buffered))

    def _holds(self, size: int) -> bool:
        """Count `size` bytes as held, unless there are more; False when that would be too many."""
        more = max(size - self._size, 0)
        if not self._state.reserve(more):
            return False
        self._size += more
        return True

    def _in_target(self) -> Mention | None:
        """What the request line says by itself, whatever the body is; None when it says nothing."""
        method, target = self._request.method, self._request.target
        if is_trained_models(method, target):  # which is held only where it may be the application's
            return Mention.YES
        if is_inference(method, target):
            return Mention.PERHAPS if is_other_inference(target) else Mention.YES
        if follows_up(method, target) or (b"?" in target and find_in_query(query_of(target))):
            return Mention.YES
        return None

    def _forward(self, mention: Mention) -> None:
        if mention is Mention.NO:
            self._hand_over(mention, None)
        else:
            self._state.origins.ask(self._request, lambda origin: self._hand_over(mention, origin))

    def _hand_over(self, mention: Mention, origin: OriginAnswer | None) -> None:
        if self._gone:
            return
        if origin is not None and origin.refused:
            mention = Mention.NO  # upstream refuses it, whatever is in it
        kind: Kind = "search" if mention is Mention.NO else "rerank"
        optional = mention is Mention.PERHAPS
        exchange = Exchange(self._client, self._state, self._request, kind, optional=optional, origin=origin)
        self._client.replace_handler(exchange)
        exchange.start(self._chunks, self._size)

    def give_up(self) -> None:
        """The rest of the body does not come."""
        self._refuse(answers.timed_out("next piece of the body of a search"))

    def client_lost(self) -> None:
        self._has_left = True
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
