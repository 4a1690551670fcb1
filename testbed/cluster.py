"""A cluster of several nodes on this machine, whose data nodes can be killed and started again."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from testbed.distribution import Distribution
from testbed.node import Node
from testbed.progress import Reporter
from testbed.running import RunningElasticsearch

_HEAP_MB: Final = 256
_MASTER: Final = "master"


class Cluster:
    """A node that only manages the cluster, and data nodes; a context manager.

    Losing a data node leaves a cluster that works: the one that manages is never lost.

    Args:
        data_nodes: How many of those there are.

    Attributes:
        nodes: The data nodes, by number.
    """

    nodes: list[RunningElasticsearch]

    def __init__(self, distribution: Distribution, *, data_nodes: int = 2) -> None:
        self._distribution = distribution
        self._count = data_nodes
        self._master = self._node(
            _MASTER, {"node.roles": "master", "cluster.initial_master_nodes": _MASTER}, port=0
        )
        self._data: list[Node] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.master = stack.enter_context(self._master)
            self._data = [self._data_node(number, 0) for number in range(self._count)]
            for node in self._data:
                stack.callback(node.stop)
            with ThreadPoolExecutor(self._count) as threads:
                self.nodes = list(threads.map(Node.start, self._data))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def kill(self, number: int) -> None:
        """End a data node as a crash does."""
        self._data[number].kill()

    def restart(self, number: int) -> None:
        """Start a data node that was killed again, on its port and without its data."""
        self._data[number].stop()
        port = urlsplit(self.nodes[number].url).port or 0
        node = self._data[number] = self._data_node(number, port)
        self._stack.callback(node.stop)
        self.nodes[number] = node.start()

    def _data_node(self, number: int, port: int) -> Node:
        joins = {"node.roles": "data,ingest", "discovery.seed_hosts": self._master.transport_address()}
        return self._node(f"data-{number}", joins, port=port)

    def _node(self, name: str, settings: dict[str, str], *, port: int) -> Node:
        return Node(
            self._distribution,
            port=port,
            heap_mb=_HEAP_MB,
            settings={"discovery.type": "multi-node", "node.name": name, **settings},
            reporter=Reporter(),
        )
