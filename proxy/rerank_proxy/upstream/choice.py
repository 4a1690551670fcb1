"""Which node a request goes to: the least busy of those that are not left out.

Nothing ties a request to the node of the one before, with one exception (`upstream.node_local`): points in
time, scrolls and asynchronous searches are found from every node of a cluster, and connections of clients
live for so long that with one node for each, a node that has come back would get no requests.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from rerank_proxy.upstream.health import Health


class Choosable(Protocol):
    """A node as its choice needs it.

    Attributes:
        health: Whether it is left out, and until when.
    """

    health: Health

    @property
    def load(self) -> int:
        """The number of requests under way."""
        ...


N = TypeVar("N", bound=Choosable)


def least_busy(live: Sequence[N], turn: int) -> N:
    """Return the node with the fewest requests under way, of several the next one in turn.

    Args:
        live: The nodes to choose from; one at least.
        turn: Counts choices.
    """
    count = len(live)
    first = turn % count
    best = live[first]
    fewest = best.load
    for at in range(first + 1, first + count):
        if not fewest:
            break
        node = live[at % count]
        load = node.load
        if load < fewest:
            best, fewest = node, load
    return best


def in_order(nodes: Sequence[N], turn: int, first: object = None, last: object = None) -> list[N]:
    """Return the nodes in the order in which a request tries to connect to them, each once.

    Those that are not left out come first, the least busy before all; then those that are, by when they are
    due. So a request is never refused without a try.

    Args:
        first: Comes before all others, unless it is left out.
        last: Comes after all others: it has just failed the request.
    """

    def rank(node: N) -> tuple[bool, bool, bool, float]:
        due_at = node.health.due_at
        if due_at is not None:
            return node is last, True, False, due_at
        return node is last, False, node is not first, node.load

    start = turn % len(nodes)
    return sorted([*nodes[start:], *nodes[:start]], key=rank)
