"""Connections to upstream, which may have several nodes, or to the application.

`acquire` gives a kept connection to the node that a request should go to (`upstream.choice`). Where there is
none, `connect` makes a new one: to that node, and where that fails to the others in turn, each once. An
attempt that takes longer than `STALLED_S` goes on, and the next node is tried beside it (as RFC 8305 does
with the addresses of a host): a machine that is gone says nothing, and a request does not wait for
`upstream.connect_timeout_s` where another node lives. While they wait, such attempts count as requests under
way, so that the node gets ever fewer requests before it is known to have failed.
"""

import asyncio
from collections.abc import Iterable, Iterator
from random import random
from typing import Final, Protocol

from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.upstream.choice import in_order, least_busy
from rerank_proxy.upstream.connection import Owner, UpstreamConnection
from rerank_proxy.upstream.node import Node
from rerank_proxy.upstream.silence import HANGS, answers
from rerank_proxy.upstream.targets import Target, TargetError

STALLED_S: Final = 0.5
"""Seconds after which the next node is tried beside one that does not answer: twice what TCP and TLS take to
the other side of the world."""


class Waiter(Protocol):
    """Asks for a new connection."""

    def connected(self, connection: UpstreamConnection) -> None:
        """Use the connection, as its receiver."""
        ...

    def connect_failed(self, error: TargetError) -> None:
        """Do without a connection."""
        ...


class Watcher(Protocol):
    """Is told what happens to the nodes of a pool."""

    def left_out(self, node: Node, error: TargetError) -> None:
        """Take note that attempts to connect to a node fail, since now or still."""
        ...

    def came_back(self, node: Node) -> None:
        """Take note that a node that was left out was connected to."""
        ...

    async def stop(self) -> None:
        """End: the pool is closed."""
        ...


class Attempt:
    """A connection that is being made for a waiter, to one node or another.

    Args:
        nodes: Those to try, in this order.
    """

    __slots__ = ("_failures", "_pool", "_rest", "_timer", "tries", "waiter")

    def __init__(self, pool: "Pool", waiter: Waiter, nodes: Iterable[Node] = ()) -> None:
        self.waiter: Waiter | None = waiter
        self.tries: set[asyncio.Task[None]] = set()
        self._pool = pool
        self._rest = list(nodes)
        self._failures: list[TargetError] = []
        self._timer: asyncio.TimerHandle | None = None

    def abandon(self) -> None:
        """Take note that the waiter is gone. A connection may be made all the same, for the next one."""
        self.waiter = None
        self._stop_timer()
        self._pool.abandoned(self)

    def try_next(self) -> None:
        """Try the next node, beside those that have not answered yet."""
        self._stop_timer()
        node = self._rest.pop(0)
        self._pool.try_node(self, node)
        if self._rest:
            self._timer = asyncio.get_running_loop().call_later(STALLED_S, self.try_next)

    def succeeded(self, connection: UpstreamConnection) -> None:
        """Hand a connection over, or keep it if another came before."""
        self._stop_timer()
        waiter, self.waiter = self.waiter, None
        if waiter is None:
            connection.owner.release(connection)
            return
        self._pool.abandoned(self)
        waiter.connected(connection)

    def failed(self, error: TargetError) -> None:
        """Go on with the next node, or tell the waiter that none is left."""
        self._failures.append(error)
        if self.waiter is None:
            return
        if self._rest:
            self.try_next()
        elif not self.tries:
            first, *others = self._failures
            waiter, self.waiter = self.waiter, None
            waiter.connect_failed(
                TargetError(first.fault, first.target, tuple(each.target for each in others))
            )

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Pool:
    """Connections to one node or several.

    Args:
        max_idle: The most idle connections that are kept, over all nodes.

    Attributes:
        nodes: The nodes; one at least.
        alone: There is only one.
        watcher: Is told which nodes are left out; None, nothing is.
    """

    def __init__(
        self, *targets: Target, connect_timeout_s: float, idle_timeout_s: float, max_idle: int
    ) -> None:
        self.nodes: tuple[Node, ...] = ()
        self.alone = True
        self.watcher: Watcher | None = None
        self._connect_timeout_s = connect_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._max_idle = max_idle
        self._loop = asyncio.get_running_loop()
        self._live: tuple[Node, ...] = ()
        self._only: Node | None = None
        self._retired: set[Node] = set()
        self._turn = 0
        self._tasks = BackgroundTasks()
        self._abandoned: set[asyncio.Task[None]] = set()
        self._closed = False
        self.set_targets(targets)

    def set_targets(self, targets: Iterable[Target]) -> None:
        """Change where connections lead to. What is under way at nodes that are gone goes on to its end."""
        gone = {node.target: node for node in self.nodes}
        wanted = list(dict.fromkeys(targets))
        share = max(1, self._max_idle // len(wanted))
        self.nodes = tuple(
            gone.pop(target) if target in gone else self._new_node(target) for target in wanted
        )
        for node in self.nodes:
            node.max_idle = share
        for node in gone.values():
            node.retire()
            self._retired.add(node)
        self.alone = len(self.nodes) == 1
        self._only = self.nodes[0] if self.alone else None
        self._sort()

    def _new_node(self, target: Target) -> Node:
        return Node(
            target,
            connect_timeout_s=self._connect_timeout_s,
            idle_timeout_s=self._idle_timeout_s,
            max_idle=self._max_idle,
        )

    def _sort(self) -> None:
        self._live = tuple(node for node in self.nodes if not node.health.is_out)

    @property
    def idle(self) -> int:
        """The number of idle connections."""
        return sum(len(node.idle) for node in self.nodes)

    @property
    def busy(self) -> int:
        """The number of connections with a request under way."""
        return sum(node.busy for node in (*self.nodes, *self._retired))

    def acquire(self, node: Node | None = None) -> UpstreamConnection | None:
        """Return an idle connection, or None: then `connect`.

        Args:
            node: To this node; None, to the least busy one.
        """
        return (node or self._only or self._choose()).acquire()

    def _choose(self) -> Node:
        self._turn += 1
        if self._live:
            return least_busy(self._live, self._turn)
        return next((node for node in self.nodes if node.idle), self.nodes[0])

    def keep(self, node: Node | None) -> Node:
        """Return the node that a client's requests go to which are about one node: the one before, if it is
        not left out.
        """
        return node if node is not None and node in self._live else self._choose()

    def connect(self, waiter: Waiter, first: Node | None = None, last: Owner | None = None) -> Attempt:
        """Make a new connection. The waiter is told later, never within this call.

        Args:
            first: The node to try before all others, if it is not left out.
            last: The node to try after all others.
        """
        nodes = self.nodes if self._only is not None else in_order(self.nodes, self._turn, first, last)
        attempt = Attempt(self, waiter, nodes)
        attempt.try_next()
        return attempt

    def try_node(self, attempt: Attempt, node: Node) -> None:
        """Connect to a node, and tell the attempt how that ended."""
        task = self._tasks.start(self._try(attempt, node))
        attempt.tries.add(task)
        task.add_done_callback(attempt.tries.discard)

    async def _try(self, attempt: Attempt, node: Node) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            connection = await self._connect(node)
        except TargetError as error:
            attempt.tries.discard(task)
            attempt.failed(error)
        else:
            attempt.tries.discard(task)
            attempt.succeeded(connection)

    async def probe(self, node: Node) -> None:
        """Connect to a node that is left out, and keep the connection for the next request.

        One that is left out because it hangs has to answer, too.
        """
        if node.hangs:
            await self.ask(node)
            return
        try:
            connection = await self._connect(node)
        except TargetError:
            return
        node.release(connection)

    async def ask(self, node: Node) -> None:
        """Leave a node out that does not answer, and take it back once it does."""
        began = self._loop.time()
        try:
            connection = await self._connect(node)
        except TargetError:
            return
        node.hangs = not await answers(connection)
        if node.hangs:
            self._failed(node, TargetError(HANGS, node.target), began)
        else:
            self._reached(node)

    async def _connect(self, node: Node) -> UpstreamConnection:
        """Make a connection, and take note of how that ended.

        Raises:
            TargetError: There is none.
        """
        began = self._loop.time()
        try:
            connection = await node.connect()
        except TargetError as error:
            self._failed(node, error, began)
            raise
        if not node.hangs:
            self._reached(node)
        return connection

    def _failed(self, node: Node, error: TargetError, began: float) -> None:
        node.health.failed(error.fault.words, began, self._loop.time(), random())  # no secret
        self._sort()
        if self.watcher is not None and not self._closed:
            self.watcher.left_out(node, error)

    def _reached(self, node: Node) -> None:
        if node.health.reached(self._loop.time()):
            self._sort()
            if self.watcher is not None:
                self.watcher.came_back(node)

    def abandoned(self, attempt: Attempt) -> None:
        """Go on with what an attempt still tries if its connections could be kept, else cancel it.

        Otherwise clients that come and go would start ever more attempts while upstream does not answer.
        """
        for task in attempt.tries:
            if self.idle + len(self._abandoned) >= self._max_idle:
                task.cancel()
            else:
                self._abandoned.add(task)
                task.add_done_callback(self._abandoned.discard)

    def close_unused(self, now: float) -> None:
        """Close what has been idle for longer than the timeout. `now`: seconds of the loop's clock."""
        for node in self.nodes:
            node.close_unused(now)
        if self._retired:
            self._retired = {node for node in self._retired if node.open or node.connecting}

    async def close(self) -> None:
        """Close everything immediately, cutting off requests under way."""
        self._closed = True
        if self.watcher is not None:
            await self.watcher.stop()
        await self._tasks.cancel()
        for node in self._every_node():
            node.abort()
        await asyncio.sleep(0)  # the loop's next turn closes their sockets

    def _every_node(self) -> Iterator[Node]:
        yield from self.nodes
        yield from self._retired
