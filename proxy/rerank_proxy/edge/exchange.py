"""One request and its answer: the relay between a client's connection and one of a pool's."""

from time import perf_counter
from typing import TYPE_CHECKING

from rerank_proxy.edge import answers
from rerank_proxy.edge.cors import OriginAnswer
from rerank_proxy.edge.shared import EdgeState
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.http.framing import Body, BodyUntilClose, ChunkedBody, FramingError, SizedBody
from rerank_proxy.http.head import HeadError, RequestHead, ResponseHead, parse_response
from rerank_proxy.http.inbox import Inbox
from rerank_proxy.observe.metrics import CLIENT_CLOSED, Kind
from rerank_proxy.upstream.pool import Attempt, TargetError, UpstreamConnection
from rerank_proxy.upstream.read_only import is_read_only

if TYPE_CHECKING:
    from rerank_proxy.edge.connection import ClientConnection

MAX_RESPONSE_HEAD = 256 * 1024
"""Bytes of a status line and headers from upstream; it may send many long `Warning` fields."""
MAX_INTERIM_HEADS = 256 * 1024
"""Bytes of all interim heads (`100 Continue` …) before an answer."""

_JOIN_BYTES = 16 * 1024
"""Up to here copying a body behind its head is cheaper than a second buffer to write."""


class Exchange:
    """Forwards one request and relays the answer, both as they come.

    A search for the application goes there first and, when the application declines it, upstream.
    `reading`: the request's body is not complete yet.

    Args:
        optional: The application can be done without.
        origin: What upstream says to the request's origin, if it was asked.
    """

    # Defaults of the class, so that an exchange sets only what becomes of it.
    reading = False
    _chunks: list[bytes] | None = None  # what a second try would send; None: there can be none
    _held = 0
    _awaits_continue = False  # the client sends its body only after `100 Continue`
    _discarding = False  # the rest of the body is of no use to anybody
    _retried = False
    _sent_at = 0.0
    # The connection to the pool's target
    _attempt: Attempt | None = None
    _connection: UpstreamConnection | None = None
    _reusable = False
    # The answer
    _answered = False  # at least one byte of it came
    _relayed = False  # at least its head was sent on
    _inbox: Inbox | None = None  # heads that came in part
    _interim_bytes = 0
    _status = 0
    _response_body: Body | None = None
    _until_close = False  # towards the client it ends with the connection
    _dechunk = False
    _close_client = False

    def __init__(
        self,
        client: "ClientConnection",
        state: EdgeState,
        request: RequestHead,
        kind: Kind,
        body: Body | None = None,
        *,
        optional: bool = False,
        origin: OriginAnswer | None = None,
    ) -> None:
        self._client = client
        self._state = state
        self._request = request
        self._kind: Kind = kind
        self._pool = state.app if kind == "rerank" else state.upstream
        self._optional = optional
        self._asked_origin = origin
        self._body = body

    # The request

    def begin(self, data: bytes, start: int) -> int:
        """Forward a request whose body begins at `start` in `data`; returns where it stops there."""
        if self._body is None:
            self.start([])
            return start
        try:
            end = self._body.feed(data, start)
        except FramingError as problem:
            self._client.refuse(answers.malformed(f"the body: {problem}"), request=self._request)
            return len(data)
        self.reading = not self._body.done
        self._awaits_continue = self._request.expects_continue and end == start
        self.start([data[start:end]] if end > start else [])
        return end

    def start(self, chunks: list[bytes], held: int = 0) -> None:
        """Forward a request.

        Args:
            chunks: Its body so far; the whole of it, unless `reading`.
            held: How many bytes of it the state counts as held.
        """
        self._chunks = chunks
        self._held = held
        connection = self._pool.acquire()
        if connection is not None:
            self._send(connection)
        else:
            self._connect()

    def _connect(self) -> None:
        if self.reading:
            self._client.pause_reading_for_upstream()
        self._attempt = self._pool.connect(self)

    def connected(self, connection: UpstreamConnection) -> None:
        self._attempt = None
        self._client.resume_reading_for_upstream()
        self._send(connection)

    def connect_failed(self, error: TargetError) -> None:
        self._attempt = None
        if self._does_without_application():
            self._pass_upstream(reusable=False)
        else:
            self._fail(answers.unreachable(self._pool.target, error))

    def _send(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        connection.receiver = self
        chunks = self._chunks or []
        if self.reading:
            self._chunks = None  # what streams past is not kept
        if self._client.blocked:  # by an earlier answer
            connection.pause_reading()
        # A search is sent when its body is here, so its client's wait for `100 Continue` is over.
        head = self._request.forward(self._pool.target.host_header, expect=self._kind == "plain")
        self._sent_at = perf_counter()
        if not chunks:
            connection.transport.write(head)
        elif len(chunks) == 1 and len(chunks[0]) <= _JOIN_BYTES:
            connection.transport.write(head + chunks[0])
        else:
            connection.transport.writelines([head, *chunks])

    def body_received(self, data: bytes, start: int) -> int:
        """Take more of the body; returns where it stops in `data`."""
        assert self._body is not None
        try:
            end = self._body.feed(data, start)
        except FramingError as problem:
            self._refuse_body(problem)
            return len(data)
        self._awaits_continue = False
        if self._connection is None:
            assert self._chunks is not None  # still connecting
            self._chunks.append(data[start:end])
        elif not self._discarding:
            self._connection.transport.write(data[start:end])
        if self._body.done:
            self.reading = False
            if self._response_body is not None and self._response_body.done:
                self._finish()
        return end

    def _refuse_body(self, problem: FramingError) -> None:
        if self._relayed:
            self._truncate()
        else:
            self._drop()
            self._client.refuse(answers.malformed(f"the body: {problem}"), self._kind, self._request)

    # The answer

    def response_received(self, data: bytes) -> None:
        if self._response_body is not None:
            self._relay(data, 0, 0)
            return
        if not self._answered:
            self._answered = True
            if self._kind != "rerank":
                self._state.metrics.first_byte(perf_counter() - self._sent_at)
        inbox = self._inbox
        if inbox is None:
            inbox = self._inbox = Inbox()
        inbox.append(data)
        try:
            self._read_heads(inbox)
        except HeadError as problem:
            self._fail(answers.disconnected(self._pool.target, f"sent a malformed answer: {problem.reason}"))

    def _read_heads(self, inbox: Inbox) -> None:
        """Read interim heads up to the final one."""
        while raw := inbox.take_head(MAX_RESPONSE_HEAD):
            head = parse_response(raw)
            if head.status >= 200:
                self._inbox = None
                self._final_head_received(head, inbox.block, inbox.at)
                return
            if head.status == 101:
                raise HeadError("it switches to a protocol that nobody asked for")
            self._interim_bytes += len(raw)
            if self._interim_bytes > MAX_INTERIM_HEADS:
                raise HeadError(f"its interim answers are longer than {MAX_INTERIM_HEADS} bytes")
            self._interim_head_received(head)

    def _interim_head_received(self, head: ResponseHead) -> None:
        if head.status == 100:
            self._awaits_continue = False
        # HTTP/1.0 knows no interim answers, and a search already got its `100 Continue` from the edge.
        if not self._request.http10 and (head.status != 100 or self._kind == "plain"):
            self._client.write(head.forward(close=False))

    def _final_head_received(self, head: ResponseHead, data: bytes, end: int) -> None:
        """The head ends at `end` in `data`, and the body begins there."""
        if head.status == 421 and self._kind == "rerank" and head.field(b"x-rerank-proxy") == b"pass":
            self._pass_upstream(reusable=head.keep_alive and head.length == 0 and end == len(data))
            return
        self._plan(head)
        # A client that asked for the end of the connection needs not be told, and Elasticsearch does not.
        forwarded = head.forward(
            close=self._close_client, announce=self._request.keep_alive, dechunk=self._dechunk
        )
        if self._kind == "rerank":
            fields = self._origin.fields_beside(head)
            forwarded = forwarded[:-2] + fields + b"\r\n" if fields else forwarded
        if forwarded is head.raw:
            self._relay(data, end, end - len(forwarded))
        else:
            self._relay(data, end, end, forwarded)

    def _plan(self, head: ResponseHead) -> None:
        """Decide how the answer ends (RFC 9112 §6.3) and what becomes of both connections after it."""
        request = self._request
        ends_with_connection = False
        body: Body
        if request.method == b"HEAD" or head.status in (204, 304):
            body = SizedBody(0)
        elif head.chunked:
            body = ChunkedBody()
            self._dechunk = request.http10  # HTTP/1.0 knows no chunks
        elif head.length is not None:
            body = SizedBody(head.length)
        else:
            body = BodyUntilClose()
            ends_with_connection = True
        self._status = head.status
        self._response_body = body
        self._until_close = ends_with_connection or self._dechunk
        # An answer ahead of the request's end. If upstream will not read on, or the client was never told to
        # go on, the rest of the request is thrown away and no connection is used again.
        self._discarding = self.reading and (not head.keep_alive or self._awaits_continue)
        self._reusable = not (
            ends_with_connection or self._discarding or request.http10 or not head.keep_alive
        )
        self._close_client = (
            self._until_close
            or self._discarding
            or head.http10
            or not request.keep_alive
            or self._state.draining
        )

    def _relay(self, data: bytes, start: int, kept: int, head: bytes = b"") -> None:
        """Send on `data` as far as it belongs to the answer.

        Args:
            start: Where the body begins in `data`.
            kept: Where that begins which is sent as it came: at `start`, or at the head before it.
            head: What is sent before.
        """
        body = self._response_body
        assert body is not None
        content: list[bytes] | None = [] if self._dechunk else None
        try:
            end = body.feed(data, start, content)
        except FramingError as problem:
            self._broken(f"sent a malformed answer: {problem}")
            return
        if not self._relayed:
            self._relayed = True
            self._forget_request()
        if content is not None:
            piece = b"".join((head, *content))
        elif head:
            piece = head + data[start:end]
        else:
            piece = data[kept:end]
        if piece:
            self._client.write(piece)
        if end < len(data):
            self._reusable = False  # more than upstream announced: its next answer would begin with it
        if body.done:
            self._answer_complete()

    def _answer_complete(self) -> None:
        if not self.reading:
            self._finish()
        elif self._discarding or self._connection is None:
            self._drop()
            self._state.metrics.request(self._kind, self._status)
            self._client.linger()
        # Else upstream still takes the body: `body_received` finishes.

    def _finish(self) -> None:
        """Both messages are complete."""
        self._part_with_connection(reusable=self._reusable)
        self._state.metrics.request(self._kind, self._status)
        self._client.request_done(self._request, close=self._close_client)

    def _pass_upstream(self, *, reusable: bool) -> None:
        """The application says that this search merely mentions the retriever: upstream gets it untouched."""
        self._part_with_connection(reusable=reusable)
        self._kind = "search"
        self._pool = self._state.upstream
        self._answered = self._retried = False
        self._inbox = None
        self._interim_bytes = 0
        self.start(self._chunks or [], self._held)

    @property
    def _origin(self) -> OriginAnswer:
        """What upstream says to the request's origin, as far as that is known by now."""
        if self._asked_origin is not None:
            return self._asked_origin
        return self._state.origins.known(self._request)

    def _does_without_application(self) -> bool:
        """Whether upstream may know what the application would have been asked for, and can be asked."""
        return self._optional and self._pool is self._state.app and self._chunks is not None

    def _part_with_connection(self, *, reusable: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if reusable:
            self._pool.release(connection)
        else:
            connection.abort()

    # What goes wrong

    def upstream_lost(self, error: Exception | None) -> None:
        """The connection is closed; `error` is None when the other side ended it in good order."""
        connection, self._connection = self._connection, None
        body = self._response_body
        if body is None:
            if connection is not None and connection.reused and self._may_retry():
                self._retried = True
                self._state.metrics.retries += 1
                self._connect()
            else:
                self._broken("closed the connection before it answered")
        elif isinstance(body, BodyUntilClose) and error is None:
            body.done = True
            self._answer_complete()
        elif body.done:
            self._answer_complete()  # ahead of the request's end, which now goes nowhere
        else:
            self._truncate()

    def _may_retry(self) -> bool:
        """A kept connection may have been closed just before the request was sent on it.

        That cannot be told from a request that was carried out, so only what merely reads is sent again. What
        the application answers may have been scored by a vendor who is paid for it.
        """
        return (
            not self._answered
            and not self._retried
            and self._pool is self._state.upstream
            and self._chunks is not None
            and is_read_only(self._request.method, self._request.target)
        )

    def _broken(self, what: str) -> None:
        if self._relayed:
            self._truncate()
        elif self._does_without_application():
            self._pass_upstream(reusable=False)
        else:
            self._fail(answers.disconnected(self._pool.target, what))

    def _fail(self, failure: ElasticsearchError) -> None:
        """Answer in upstream's place."""
        request = self._request
        self._drop()
        self._state.metrics.request(self._kind, failure.status)
        close = self.reading or not request.keep_alive or self._state.draining
        self._client.write(
            answers.render(
                failure,
                close=close,
                head_only=request.method == b"HEAD",
                opaque_id=request.field(b"x-opaque-id"),
                fields=self._origin.fields,
            )
        )
        if self.reading:
            self._client.linger()
        else:
            self._client.request_done(request, close=close)

    def _truncate(self) -> None:
        """The answer cannot be completed, and nothing may make it look complete."""
        self._drop()
        self._state.metrics.request(self._kind, self._status)
        self._client.truncate(reset=self._until_close)

    def client_lost(self) -> None:
        self._drop()
        self._state.metrics.request(self._kind, self._status or CLIENT_CLOSED)

    def _drop(self) -> None:
        """Let go of all that is held. Elasticsearch cancels a search whose connection closes."""
        self._forget_request()
        if self._attempt is not None:
            self._attempt.abandon()
            self._attempt = None
        self._part_with_connection(reusable=False)

    def _forget_request(self) -> None:
        self._chunks = None
        self._state.free(self._held)
        self._held = 0

    # Flow control

    def client_blocked(self) -> None:
        if self._connection is not None:
            self._connection.pause_reading()

    def client_unblocked(self) -> None:
        if self._connection is not None:
            self._connection.resume_reading()

    def upstream_blocked(self) -> None:
        # Once the request is complete the client is read on: that is how its leaving is noticed.
        if self.reading:
            self._client.pause_reading_for_upstream()

    def upstream_unblocked(self) -> None:
        self._client.resume_reading_for_upstream()
