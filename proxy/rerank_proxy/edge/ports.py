"""What the parts of the edge need of one another: the client's connection, the handler of its request.

Each part knows these protocols and not the classes behind them, so that imports point one way.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from rerank_proxy.edge.told import Told
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.http.head import RequestHead
from rerank_proxy.observe.edge_metrics import RequestKind
from rerank_proxy.upstream.node import Node


class Ended(Protocol):
    """What has ended with a request, as far as its end is told.

    Attributes:
        request: None for a head that cannot be read.
        node: The node that it was sent to last, as `HOST:PORT`; None if it was sent to none.
        reason: The type of the error that the edge answered with; None if it did not.
        request_id: The id that the application was told; None if it was not asked.
    """

    @property
    def request(self) -> RequestHead | None: ...
    @property
    def node(self) -> str | None: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def request_id(self) -> str | None: ...

    @property
    def told(self) -> Told | None:
        """Return what the application told of its answer; None if it gave none."""
        ...

    def times(self) -> Mapping[str, float]:
        """Return the seconds of each stage that is known."""
        ...


class Handler(Protocol):
    """The handler of the request under way, as the client's connection needs it.

    An answer that leaves the client's connection open is never given within `begin`, nor within what follows
    in the same turn of the loop.
    """

    @property
    def reading(self) -> bool:
        """Return whether a part of the request is still to come from the client."""
        ...

    def begin(self, data: bytes, start: int) -> int:
        """Start a request whose body begins at `start` in `data`. Return where the body stops there."""
        ...

    def body_received(self, data: bytes, start: int) -> int:
        """Take more of the body, from `start` in `data`. Return where the body stops there."""
        ...

    def client_lost(self) -> None:
        """Give up: the client is gone."""
        ...

    def client_blocked(self) -> None:
        """Pause what is written to the client, which reads more slowly."""
        ...

    def client_unblocked(self) -> None:
        """Resume what `client_blocked` paused."""
        ...


class Client(Protocol):
    """The client's connection, as a handler needs it.

    Attributes:
        write: Sends bytes to the client; more than the buffer takes turn `blocked` on.
        blocked: The client reads more slowly than upstream answers.
        waiting_since: Loop time since when the rest of a head or of a search body is awaited, or None.
        node: The node of its requests that a node answers about itself; None before the first one.
    """

    write: Callable[[bytes], None]
    blocked: bool
    waiting_since: float | None
    node: Node | None

    def replace_handler(self, handler: Handler) -> None:
        """Have another handler go on with the request under way."""
        ...

    def finished(self, kind: RequestKind, status: int, by: Ended, ended: str | None = None) -> float:
        """Tell the end of a request: it is counted, and may have a line in the access log.

        Every request is told once, when its answer was written or given up. This is the one way by which
        metrics and log learn of it.

        Args:
            status: That of the answer; `CLIENT_CLOSED` if it has not begun.
            ended: `cut` or `left`, if the answer broke off or the client left; None if it is complete.

        Returns:
            The seconds that it took.
        """
        ...

    def request_done(self, request: RequestHead, *, close: bool) -> None:
        """Go on to the next request: this one is complete, and so is its answer."""
        ...

    def refuse(
        self, failure: ElasticsearchError, kind: RequestKind = "plain", request: RequestHead | None = None
    ) -> None:
        """Answer with an error, count it, and close."""
        ...

    def linger(self) -> None:
        """Close after what was written, but let the client finish sending first."""
        ...

    def truncate(self, *, reset: bool) -> None:
        """Close in the middle of an answer."""
        ...

    def pause_reading_for_upstream(self) -> None:
        """Read no more from the client, until `resume_reading_for_upstream`: upstream reads more slowly."""
        ...

    def resume_reading_for_upstream(self) -> None: ...


class OpenConnection(Protocol):
    """A client's connection, as the edge as a whole needs it."""

    def close_if_idle(self, before: float) -> None:
        """Close unless a request is under way, or it was opened or answered since that loop time."""
        ...

    def give_up_waiting(self, before: float) -> None:
        """Refuse a request that stopped coming before that loop time."""
        ...

    def abort(self) -> None:
        """Close immediately, cutting off a request under way."""
        ...
