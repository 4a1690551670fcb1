"""A cluster of several nodes on this machine, of which one can be killed and started again."""

import socket
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
_FIRST: Final = "data-0"


class Cluster:
    """Nodes that all hold data, of which the first manages the cluster; a context manager.

    Losing any other node leaves a cluster that works.

    Args:
        nodes: How many there are.

    Attributes:
        nodes: The nodes, by number.
    """

    nodes: list[RunningElasticsearch]

    def __init__(self, distribution: Distribution, *, nodes: int = 2) -> None:
        self._distribution = distribution
        self._transport_port = _free_port()
        self._started = [self._node(number) for number in range(nodes)]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for node in self._started:
                stack.callback(node.stop)
            with ThreadPoolExecutor(len(self._started)) as threads:
                self.nodes = list(threads.map(Node.start, self._started))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def kill(self, number: int) -> None:
        """End a node as a crash does."""
        self._started[number].kill()

    def restart(self, number: int) -> None:
        """Start a node that was killed again, on its port and without its data. Not the first one."""
        self._started[number].stop()
        port = urlsplit(self.nodes[number].url).port or 0
        node = self._started[number] = self._node(number, port)
        self._stack.callback(node.stop)
        self.nodes[number] = node.start()

    def _node(self, number: int, port: int = 0) -> Node:
        """Return a node. They may start side by side: where the first one will be is known beforehand."""
        if number == 0:
            own = {
                "node.roles": "master,data,ingest",
                "cluster.initial_master_nodes": _FIRST,
                "transport.port": str(self._transport_port),
            }
        else:
            seed = f"127.0.0.1:{self._transport_port}"
            own = {"node.roles": "data,ingest", "discovery.seed_hosts": seed}
        return Node(
            self._distribution,
            port=port,
            heap_mb=_HEAP_MB,
            settings={"discovery.type": "multi-node", "node.name": f"data-{number}", **own},
            reporter=Reporter(),
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
