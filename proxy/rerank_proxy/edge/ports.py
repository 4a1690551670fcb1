"""What the parts of the edge need of one another: the client's connection, the handler of its request.

Each part knows these protocols and not the classes behind them, so that imports point one way.
"""

from collections.abc import Callable
from typing import Protocol

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.http.head import RequestHead
from rerank_proxy.observe.edge_metrics import RequestKind
from rerank_proxy.upstream.node import Node


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
