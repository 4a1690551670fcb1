"""What an exchange holds, a body and a connection; and the pace, which each side takes from the other."""

from rerank_proxy.edge.ended import Sent
from rerank_proxy.edge.ports import Client
from rerank_proxy.edge.shared import Shared
from rerank_proxy.edge.states import Progress
from rerank_proxy.upstream.connection import UpstreamConnection
from rerank_proxy.upstream.pool import Attempt


class Holding(Sent):
    """Holds them until they are released. What has no default here is set by the class derived from it."""

    # Defaults of the class; what is read of every exchange is set in any case: Python finds it faster.
    _chunks: list[bytes] | None = None  # what a second try would send; None: there can be none
    _attempt: Attempt | None = None
    _connection: UpstreamConnection | None = None

    _client: Client
    _shared: Shared
    _progress: Progress
    _held: int  # bytes of the body that count as held

    @property
    def reading(self) -> bool:
        return self._progress.request.reading

    def _part_with_connection(self, *, reusable: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if reusable:
            connection.owner.release(connection)
        else:
            connection.abort()

    def _drop(self) -> None:
        """Release all that is held. Elasticsearch cancels a search whose connection closes."""
        self._forget_request()
        if self._attempt is not None:
            self._attempt.abandon()
            self._attempt = None
        self._part_with_connection(reusable=False)

    def _forget_request(self) -> None:
        self._chunks = None
        self._shared.free(self._held)
        self._held = 0

    # Pace

    def client_blocked(self) -> None:
        if self._connection is not None:
            self._connection.pause_reading()

    def client_unblocked(self) -> None:
        if self._connection is not None:
            self._connection.resume_reading()

    def upstream_blocked(self) -> None:
        # Once the request is complete the client is read on, so that its leaving is noticed.
        if self.reading:
            self._client.pause_reading_for_upstream()

    def upstream_unblocked(self) -> None:
        self._client.resume_reading_for_upstream()
