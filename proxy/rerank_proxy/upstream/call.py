"""One request to upstream and its answer, over the connections that the edge's pool keeps."""

import asyncio
from collections.abc import Callable
from typing import Final

from rerank_proxy.http.answer_reader import AnswerError, AnswerReader, TooLargeError
from rerank_proxy.http.connection_faults import refusal_after_handshake
from rerank_proxy.upstream.connection import UpstreamConnection
from rerank_proxy.upstream.pool import Attempt, Pool
from rerank_proxy.upstream.targets import Target, TargetError


class UpstreamCall:
    """Sends a request, at most twice, and reads the answer.

    A kept connection may have been closed just before it was used again, and a node may have gone, which
    cannot be told from a request that was carried out. So the request is repeated once, on a new connection,
    and only if it may be and the connection ended before the first byte of an answer: one that was kept, or
    any where there is another node.

    Args:
        request: Returns what to send to a node.
        repeated: Called when the request is sent again; None if it must not be.

    Attributes:
        asked: The node that was asked last.
    """

    asked: Target

    def __init__(
        self,
        pool: Pool,
        request: Callable[[Target], list[bytes]],
        max_body: int,
        repeated: Callable[[], None] | None,
    ) -> None:
        self._pool: Final = pool
        self._request: Final = request
        self._max_body: Final = max_body
        self._repeated = repeated
        self._attempt: Attempt | None = None
        self._connection: UpstreamConnection | None = None
        self._reader = AnswerReader(max_body)
        self._is_refused = False
        self._answer: asyncio.Future[AnswerReader] = asyncio.get_running_loop().create_future()

    async def answer(self) -> AnswerReader:
        """Send the request and return its complete answer.

        Raises:
            TargetError: Upstream cannot be reached.
            AnswerError: There is no answer.
            TooLargeError: The answer is larger than it may be.
        """
        try:
            connection = self._pool.acquire()
            if connection is not None:
                self._send(connection)
            else:
                self._attempt = self._pool.connect(self)
            return await self._answer
        finally:
            self._let_go()

    def _send(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        self.asked = connection.owner.target
        connection.receiver = self
        connection.transport.writelines(self._request(self.asked))

    # What the pool and the connection call

    def connected(self, connection: UpstreamConnection) -> None:
        self._attempt = None
        self._send(connection)

    def connect_failed(self, error: TargetError) -> None:
        self._attempt = None
        self._fail(error)

    def response_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
        except (AnswerError, TooLargeError) as problem:
            self._fail(problem)
        else:
            if self._reader.done:
                self._succeed()

    def upstream_lost(self, error: Exception | None) -> None:
        connection, self._connection = self._connection, None
        repeated, self._repeated = self._repeated, None
        if repeated is not None and connection is not None and self._may_repeat(connection):
            repeated()
            self._attempt = self._pool.connect(self, last=connection.owner)
            return
        refusal = None if self._reader.begun else refusal_after_handshake(error)
        if refusal is not None and connection is not None:
            if not self._is_refused and not connection.reused:
                # Nothing of the request was read, and there may be a newer certificate to show by now.
                self._is_refused = True
                self._attempt = self._pool.connect(self)
                return
            self._fail(TargetError(refusal, connection.owner.target))
            return
        try:
            self._reader.ended(in_order=error is None)
        except AnswerError as problem:
            self._fail(problem)
        else:
            self._succeed()

    def _may_repeat(self, lost: UpstreamConnection) -> bool:
        return (lost.reused or not self._pool.alone) and not self._reader.begun

    def upstream_blocked(self) -> None:
        """Do nothing: the whole request is in memory already."""

    def upstream_unblocked(self) -> None:
        """Do nothing, for the same reason."""

    def _succeed(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._reader.reusable:
                connection.owner.release(connection)
            else:
                connection.abort()
        if not self._answer.done():
            self._answer.set_result(self._reader)

    def _fail(self, failure: Exception) -> None:
        self._let_go()
        if not self._answer.done():
            self._answer.set_exception(failure)

    def _let_go(self) -> None:
        """Close what is open: Elasticsearch cancels a search whose connection closes."""
        if self._attempt is not None:
            self._attempt.abandon()
            self._attempt = None
        if self._connection is not None:
            self._connection.abort()
            self._connection = None
