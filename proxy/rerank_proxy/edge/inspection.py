"""A request that the application may have to answer: it is buffered until its receiver is known."""

import asyncio
import logging
from contextlib import suppress
from typing import NamedTuple

from rerank_proxy.edge import answers
from rerank_proxy.edge.cors import OriginAnswer
from rerank_proxy.edge.detection import Detection, Scanner, is_harmless
from rerank_proxy.edge.ended import Refused
from rerank_proxy.edge.ports import Client
from rerank_proxy.edge.router import Route
from rerank_proxy.edge.search_exchange import SearchExchange
from rerank_proxy.edge.shared import Shared
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.http.framing import Body, FramingError, content
from rerank_proxy.http.head import RequestHead
from rerank_proxy.http.inflate import SNAPPY, CodingError, decoded_limit, decompress, is_compressed
from rerank_proxy.observe.edge_metrics import CLIENT_CLOSED, RequestKind

logger = logging.getLogger(__name__)

INLINE_DECODED_BYTES = 64 * 1024
"""The most that is decoded and inspected on the event loop, a millisecond's work; more is done on a thread.
"""
INLINE_CODED_BYTES = 16 * 1024
"""The same limit before decoding."""
INLINE_SNAPPY_BYTES = 1024
"""The same limit for a body in Snappy, which is decoded in Python, and thus slowly."""
MAX_SNAPPY_BYTES = 8 * 1024 * 1024
"""The most bytes of such a body, before decoding."""

_JOIN_BYTES = 16 * 1024
_SEEN_THROUGH_BYTES = 16 * 1024
"""The longest body that is not counted as held, as little as the head before it."""


class _Inspected(NamedTuple):
    """The result for a compressed body, and its decoded bytes. Beyond the limit it was not read further."""

    detection: Detection
    decoded: int


def is_seen_through(request: RequestHead, route: Route, room: int, data: bytes, start: int) -> bool:
    """Return whether a request that is to be inspected can be relayed like any other.

    Nearly all searches can: they are short, are here as a whole, and hold nothing for the application.

    Args:
        room: The longest body that may be held.
        data: What has come; the body begins at `start`.
    """
    fields = request.fields
    length = 0 if request.length is None and not fields.chunked else request.length
    return (
        length is not None
        and length <= min(room, _SEEN_THROUGH_BYTES)
        and start + length <= len(data)
        and route.detection is None
        and not (route.is_template or fields.coding or fields.expects_continue)
        and b"cbor" not in fields.content_type
        and is_harmless(data, start, start + length)
    )


class BufferedRequest:
    """Holds and inspects the body, and becomes a `SearchExchange` with upstream or with the application.

    A plain body is inspected piece by piece while it comes, a compressed one when it is complete.
    """

    reading = False
    _size = 0  # bytes that are counted as held
    _coded = 0  # bytes of content, without chunk framing
    _gone = False  # the client no longer waits for the result of the inspection
    _is_refused = False
    _client_left = False

    def __init__(
        self, client: Client, shared: Shared, request: RequestHead, route: Route, body: Body | None
    ) -> None:
        self._client = client
        self._shared = shared
        self._request = request
        self._body = body
        self._chunks: list[bytes] = []
        self._route = route
        self._is_compressed = body is not None and is_compressed(request.fields.coding)
        self._scanner = self._new_scanner()

    def _new_scanner(self) -> Scanner:
        return Scanner(
            is_template=self._route.is_template, is_cbor=b"cbor" in self._request.fields.content_type
        )

    def begin(self, data: bytes, start: int) -> int:
        limit = self._shared.settings.max_body
        if self._request.length is not None and self._request.length > limit:
            self._refuse(answers.body_too_long(limit))
            return len(data)
        if self._body is None:
            self._inspect()
            return start
        end = self.body_received(data, start)
        if self.reading and self._request.fields.expects_continue:
            self._client.write(answers.CONTINUE)
        return end

    def body_received(self, data: bytes, start: int) -> int:
        assert self._body is not None
        if self._is_refused:
            return len(data)
        parts: list[bytes] | None = [] if self._request.fields.chunked else None
        try:
            end = self._body.feed(data, start, parts)
        except FramingError as problem:
            self._refuse(answers.malformed(f"the body: {problem}"))
            return len(data)
        size = end - start
        if self._size + size > self._shared.settings.max_body:
            self._refuse(answers.body_too_long(self._shared.settings.max_body))
            return len(data)
        if not self._shared.reserve(size):
            self._refuse(answers.too_much_buffered(self._shared.settings.max_buffered))
            return len(data)
        self._size += size
        piece = data[start:end]
        if self._chunks:
            self._keep(piece)
        else:
            self._chunks.append(piece)
        self._scan(piece if parts is None else b"".join(parts))
        self.reading = not self._body.done
        if self.reading:
            self._client.waiting_since = self._shared.loop.time()
        else:
            self._client.waiting_since = None
            self._inspect()
        return end

    def _keep(self, piece: bytes) -> None:
        # Small pieces are joined: each object costs tens of bytes that no limit counts.
        if len(self._chunks[-1]) + len(piece) <= _JOIN_BYTES:
            self._chunks[-1] += piece
        else:
            self._chunks.append(piece)

    def _refuse(self, failure: ElasticsearchError) -> None:
        """Answer with an error as soon as it is known what upstream answers to the origin."""
        self._drop()
        self._is_refused = True
        self._client.waiting_since = None
        self._shared.origins.ask(self._request, lambda origin: self._answer(failure, origin))

    def _answer(self, failure: ElasticsearchError, origin: OriginAnswer) -> None:
        if not self._client_left:
            refusal = answers.origin_refused() if origin.refused else failure
            self._client.refuse(refusal, "search", self._request)

    def _scan(self, piece: bytes) -> None:
        """Inspect the next piece of the content, unless it is compressed."""
        if self._is_compressed:
            self._coded += len(piece)
        elif self._route.detection is None:
            self._scanner.feed(piece)

    def _inspect(self) -> None:
        """Decide who gets the complete request, on a thread where that takes long."""
        if not self._is_compressed:
            self._forward(self._route.detection or self._scanner.result)
            return
        is_snappy = self._request.fields.coding == SNAPPY
        if is_snappy and self._coded > MAX_SNAPPY_BYTES:
            self._refuse(answers.snappy_too_long(MAX_SNAPPY_BYTES))
            return
        settings = self._shared.settings
        limit = decoded_limit(self._coded, settings.max_inflation, settings.max_body)
        if self._coded <= (INLINE_SNAPPY_BYTES if is_snappy else INLINE_CODED_BYTES):
            inline_limit = min(INLINE_DECODED_BYTES, limit)
            inspected = self._decode(inline_limit)
            if inspected.decoded <= inline_limit or inline_limit == limit:
                self._decide(inspected, limit)
                return
        inspection = self._shared.loop.run_in_executor(self._shared.threads, self._decode, limit)
        inspection.add_done_callback(lambda future: self._decoded(future, limit))

    def _decode(self, limit: int) -> _Inspected:
        """Inspect a compressed body and measure it, in pieces of which none is kept."""
        scanner = self._new_scanner()
        decoded = 0
        pieces = content(self._chunks, chunked=self._request.chunked)
        with suppress(CodingError):  # the application or upstream refuses it
            for piece in decompress(pieces, self._request.fields.coding):
                decoded += len(piece)
                if decoded > limit or self._gone:
                    break
                if self._route.detection is None:
                    scanner.feed(piece)
        return _Inspected(self._route.detection or scanner.result, decoded)

    def _decoded(self, future: asyncio.Future[_Inspected], limit: int) -> None:
        if self._gone or future.cancelled():
            return
        if (problem := future.exception()) is not None:
            # Out of memory, for example. The receiver knows what to answer.
            logger.error("a request body could not be inspected: %r", problem)
            self._forward(self._route.detection or Detection.ABSENT)
        else:
            self._decide(future.result(), limit)

    def _decide(self, inspected: _Inspected, limit: int) -> None:
        """Forward a compressed request, counting what the application will decode, or refuse it."""
        if inspected.decoded > limit:
            if inspected.detection is Detection.FOUND:
                self._refuse(answers.decoded_too_long(limit))
            else:
                self._forward(Detection.ABSENT)  # a decompression bomb, which upstream refuses
        elif inspected.detection is Detection.ABSENT or self._reserve(inspected.decoded):
            self._forward(inspected.detection)
        else:
            self._refuse(answers.too_much_buffered(self._shared.settings.max_buffered))

    def _reserve(self, size: int) -> bool:
        """Count at least `size` bytes as held and return True, or return False if that would be too many."""
        more = max(size - self._size, 0)
        if not self._shared.reserve(more):
            return False
        self._size += more
        return True

    def _forward(self, detection: Detection) -> None:
        if detection is Detection.ABSENT:
            self._hand_over(detection, None)
        else:
            self._shared.origins.ask(self._request, lambda origin: self._hand_over(detection, origin))

    def _hand_over(self, detection: Detection, origin: OriginAnswer | None) -> None:
        if self._gone:
            return
        if origin is not None and origin.refused:
            detection = Detection.ABSENT  # upstream refuses it, whatever is in it
        kind: RequestKind = "search" if detection is Detection.ABSENT else "rerank"
        optional = detection is Detection.POSSIBLE
        exchange = SearchExchange(
            self._client, self._shared, self._request, kind, optional=optional, origin=origin
        )
        self._client.replace_handler(exchange)
        exchange.start(self._chunks, self._size)

    def give_up(self) -> None:
        """Refuse the request, because the rest of its body does not come."""
        self._refuse(answers.timed_out("next piece of the body of a search"))

    def client_lost(self) -> None:
        self._client_left = True
        self._drop()
        self._client.finished("search", CLIENT_CLOSED, Refused(self._request), "left")

    def _drop(self) -> None:
        self._gone = True
        self._shared.free(self._size)
        self._size = 0
        self._chunks = []

    def client_blocked(self) -> None:
        """Do nothing: an answer has not begun."""

    def client_unblocked(self) -> None:
        """Do nothing, as above."""
