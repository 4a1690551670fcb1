"""One request and its answer: the relay between a client's connection and one of a pool's.

`edge.states` says which states an exchange goes through. This module takes the request its way and decides
what follows from an end or a fault; `edge.response` takes the answer its way.
"""

from time import perf_counter

from rerank_proxy.edge import answers, states
from rerank_proxy.edge.cors import OriginAnswer
from rerank_proxy.edge.holding import Holding
from rerank_proxy.edge.node_addresses import NodesRelay
from rerank_proxy.edge.ports import Client
from rerank_proxy.edge.response import ResponseRelay
from rerank_proxy.edge.shared import Shared
from rerank_proxy.edge.states import Progress
from rerank_proxy.edge.undecodable import closed_without_answer
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.http.answer_reader import AnswerError, whole_answer
from rerank_proxy.http.connection_faults import ConnectionFault, refusal_after_handshake
from rerank_proxy.http.framing import Body, FramingError
from rerank_proxy.http.head import RequestHead
from rerank_proxy.observe.edge_metrics import CLIENT_CLOSED, RequestKind
from rerank_proxy.upstream.connection import Owner, UpstreamConnection
from rerank_proxy.upstream.node import Node
from rerank_proxy.upstream.node_local import is_node_local
from rerank_proxy.upstream.read_only import is_read_only
from rerank_proxy.upstream.targets import TargetError


class Exchange(Holding):
    """Forwards one request and relays the answer, both as they come.

    Args:
        body: The framing of the request's body, for `begin`; None: there is no body, or `start` gets it.
        address: What the addresses of nodes in the answer become, if it may hold some.
    """

    _is_retried = False  # a default of the class, as those of `Holding`

    def __init__(
        self,
        client: Client,
        shared: Shared,
        request: RequestHead,
        kind: RequestKind,
        body: Body | None = None,
        *,
        address: bytes | None = None,
    ) -> None:
        self._client = client
        self._shared = shared
        self.request = request
        self._kind: RequestKind = kind
        self._pool = shared.upstream
        self._address = address
        self._response = None
        self._is_relayed = address is None  # nothing in the answer's head or body is looked for
        self._held = 0
        self._body = body
        self._progress = Progress()

    # The request

    def begin(self, data: bytes, start: int) -> int:
        if self._body is None:
            self._progress.on_request(states.END)
            self._forward([])
            return start
        try:
            end = self._body.feed(data, start)
        except FramingError as problem:
            self._refuse_body(problem)
            return len(data)
        if self._body.done:
            event = states.END
        elif self.request.fields.expects_continue and end == start:
            event = states.EXPECT
        else:
            event = states.BODY
        self._progress.on_request(event)
        self._forward([data[start:end]] if end > start else [])
        return end

    def start(self, chunks: list[bytes], held: int = 0) -> None:
        """Forward a request that is complete.

        Args:
            chunks: Its body.
            held: How many bytes of it are counted as held.
        """
        self._progress.on_request(states.END)
        self._held = held
        self._forward(chunks)

    def _forward(self, chunks: list[bytes]) -> None:
        self._chunks = chunks
        pool, node = self._pool, None
        if pool.alone:
            connection = pool.nodes[0].acquire()
        else:
            if is_node_local(self.request.target):
                node = self._client.node = pool.keep(self._client.node)
            connection = pool.acquire(node)
        if connection is not None:
            self._send(connection)
        else:
            self._connect(first=node)

    def _connect(self, first: Node | None = None, last: Owner | None = None) -> None:
        self._progress.on_answer(states.CONNECT)
        if self.reading:
            self._client.pause_reading_for_upstream()
        self._attempt = self._pool.connect(self, first, last)

    def connected(self, connection: UpstreamConnection) -> None:
        self._attempt = None
        self._client.resume_reading_for_upstream()
        self._send(connection)

    def connect_failed(self, error: TargetError) -> None:
        self._attempt = None
        if not self._goes_elsewhere():
            self._fail(answers.unreachable(error))

    def _send(self, connection: UpstreamConnection) -> None:
        self._progress.on_answer(states.SEND)
        self._connection = connection
        self._owner = connection.owner
        connection.receiver = self
        chunks = self._chunks or []
        if self._progress.request is not states.COMPLETE:
            self._chunks = None  # what streams past is not kept
        if self._client.blocked:  # by an earlier answer
            connection.pause_reading()
        head = self._head(connection.owner.target.host_header)
        self._sent_at = perf_counter()
        if chunks:
            connection.send(head, chunks)
        else:
            connection.transport.write(head)

    def _head(self, host: bytes | None) -> bytes:
        """Return the head to send.

        Args:
            host: What `Host` becomes; None keeps the client's.
        """
        return self.request.forward(host)

    def body_received(self, data: bytes, start: int) -> int:
        assert self._body is not None
        try:
            end = self._body.feed(data, start)
        except FramingError as problem:
            self._refuse_body(problem)
            return len(data)
        if self._connection is None:
            assert self._chunks is not None  # still connecting
            self._chunks.append(data[start:end])
        elif self._progress.request is not states.DISCARDING:
            self._connection.transport.write(data[start:end])
        if not self._body.done:
            self._progress.on_request(states.BODY)
            return end
        self._progress.on_request(states.END)
        if self._progress.answer is states.COMPLETE:
            self._finish()
        return end

    # The answer

    def response_received(self, data: bytes) -> None:
        response = self._response
        if response is None:
            if self._kind != "rerank":
                self._shared.metrics.first_byte(perf_counter() - self._sent_at)
            if self._is_relayed and self._progress.request is states.COMPLETE and not self._shared.draining:
                answer = whole_answer(data, self.request)
                if answer is not None:
                    self._client.write(answer[1])
                    self._progress.on_answer(states.END)
                    self._part(answer[0], reusable=True, close=False)
                    return
            response = self._response = self._new_response()
        try:
            response.received(data)
        except AnswerError as problem:
            self._broken(problem, self._connection)
            return
        state = self._progress.answer
        if state is states.COMPLETE:
            if self._progress.request is states.COMPLETE:
                self._finish()
            else:
                self._answered_early()
        elif state is states.DECLINED:
            self._declined(response)
        elif state is states.RELAYING and self._chunks is not None:
            self._forget_request()

    def _new_response(self) -> ResponseRelay:
        of_exchange = (self._client, self._shared, self.request, self._progress, self._kind, None)
        if self._address is None:
            return ResponseRelay(*of_exchange)
        return NodesRelay(*of_exchange, address=self._address)

    def _declined(self, response: ResponseRelay) -> None:
        """Send the request elsewhere: its target has declined it, which only a search's may do."""
        raise AssertionError("only the target of a search declines")

    def _answered_early(self) -> None:
        """Finish an exchange whose answer is complete before its request, unless the target reads on."""
        if self._progress.request is states.DISCARDING:
            self._drop()
            self._count()
            self._client.linger()
        # Else `body_received` finishes.

    def _finish(self) -> None:
        response = self._response
        assert response is not None
        self._part(response.status, reusable=response.reusable, close=response.closes_client)

    def _part(self, status: int, *, reusable: bool, close: bool) -> None:
        """Part with both connections: both messages are complete."""
        if self._held:
            self._forget_request()
        self._part_with_connection(reusable=reusable)
        self._client.finished(self._kind, status, self)
        self._client.request_done(self.request, close=close)

    @property
    def _origin(self) -> OriginAnswer:
        """Return what upstream answers to the request's origin, as far as that is known by now."""
        return self._shared.origins.known(self.request)

    def _goes_elsewhere(self) -> bool:
        """Send the request elsewhere if it can be answered there, and return whether it can."""
        return False

    # Faults

    def upstream_lost(self, error: Exception | None) -> None:
        """Take note that the connection is closed; `error` is None when the other side ended it in order."""
        connection, self._connection = self._connection, None
        assert connection is not None
        if self._progress.answer is states.COMPLETE:
            self._end_with_target()
        elif self._progress.answer is states.RELAYING:
            self._relay_lost(in_order=error is None)
        elif self._may_retry(connection):
            self._is_retried = True
            self._shared.metrics.retries += 1
            self._connect(last=connection.owner)
        elif (refusal := refusal_after_handshake(error)) is not None:
            self._identity_refused(refusal, connection)
        elif not self._goes_elsewhere():
            self._fail(closed_without_answer(connection.owner.target, self.request, self._chunks))

    def _identity_refused(self, refusal: ConnectionFault, connection: UpstreamConnection) -> None:
        """Send the request again, once: upstream read nothing of it, and a newer certificate may be there."""
        is_unread = not connection.reused and self._progress.answer is states.WAITING
        if is_unread and not self._is_retried and self._chunks is not None:
            self._is_retried = True
            self._connect()
        else:
            self.connect_failed(TargetError(refusal, connection.owner.target))

    def _relay_lost(self, *, in_order: bool) -> None:
        assert self._response is not None
        try:
            self._response.ended(in_order=in_order)
        except AnswerError:
            self._truncate()
        else:
            self._end_with_target()

    def _end_with_target(self) -> None:
        """Finish an exchange whose answer is complete and whose target takes nothing any more."""
        if self._progress.request is states.COMPLETE:
            self._finish()
        else:
            self._progress.target_gone()
            self._answered_early()

    def _may_retry(self, lost: UpstreamConnection) -> bool:
        """Return whether the request can be sent again, once: to another node, or on a new connection.

        A kept connection may have been closed before the request came, and a node may have gone while it
        carried the request out. These cannot be told apart, so only what merely reads is sent again. What
        the application answers may have been scored by a vendor who is paid for it.
        """
        return (
            (lost.reused or not self._pool.alone)
            and not self._is_retried
            and self._progress.answer is states.WAITING
            and self._pool is self._shared.upstream
            and self._chunks is not None
            and is_read_only(self.request.method, self.request.target)
        )

    def _broken(self, problem: AnswerError, connection: UpstreamConnection | None) -> None:
        """Cut short, replace, or ask upstream for an answer that is malformed or breaks off."""
        if self._progress.answer.sent_on:
            self._truncate()
        elif not self._goes_elsewhere():
            assert connection is not None
            self._fail(answers.broken(connection.owner.target, problem))

    def _refuse_body(self, problem: FramingError) -> None:
        if self._progress.answer.sent_on:
            self._truncate()
            return
        self._drop()
        self._progress.on_request(states.CLOSE)
        self._progress.on_answer(states.REPLACE)
        self._client.refuse(answers.malformed(f"the body: {problem}"), self._kind, self.request)

    def _fail(self, failure: ElasticsearchError) -> None:
        """Answer with an error in the target's place."""
        request = self.request
        self._drop()
        self._progress.on_answer(states.REPLACE)
        self.reason = failure.cause.type
        close = self.reading or not request.keep_alive or self._shared.draining
        self._client.write(answers.render(failure, close=close, request=request, fields=self._origin.fields))
        self._client.finished(self._kind, failure.status, self)
        if self.reading:
            self._progress.target_gone()
            self._client.linger()
        else:
            self._client.request_done(request, close=close)

    def _truncate(self) -> None:
        """Disconnect the client: nothing may make an answer that cannot be completed look complete."""
        assert self._response is not None
        self._drop()
        self._progress.on_request(states.CLOSE)
        self._progress.on_answer(states.CUT)
        self._count("cut")
        self._client.truncate(reset=self._response.until_close)

    def client_lost(self) -> None:
        self._drop()
        self._progress.close()
        self._count("left")

    def _count(self, ended: str | None = None) -> None:
        """Tell the end of the request, with the status that the client got."""
        self._client.finished(self._kind, self.status or CLIENT_CLOSED, self, ended)
