"""Keeps the nodes of upstream: tries those that are left out, and follows the addresses of their names.

A node that is left out gets no requests while another lives, so it is tried by connecting to it when it is
due. The connection is kept for the next request. What makes a node be left out is that it cannot be connected
to, or does not answer at all (`upstream.silence`), and never what it answers.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.observe.events import event
from rerank_proxy.settings import UpstreamSettings
from rerank_proxy.upstream.faults import silent_text, unreachable_text
from rerank_proxy.upstream.names import resolved
from rerank_proxy.upstream.node import Node
from rerank_proxy.upstream.pool import Pool
from rerank_proxy.upstream.silence import LOOKED_AT_EVERY_S, Silence
from rerank_proxy.upstream.targets import TargetError, TcpTarget

RESOLVED_EVERY_S: Final = 30.0
"""How often names are resolved again: as long as records of Kubernetes' own name server hold."""
RESOLVED_AGAIN_S: Final = 2.0
"""How soon they are when a node is left out, which may be gone for good."""


class Keeper:
    """Keeps the nodes of a pool.

    Args:
        targets: The nodes in the settings; behind the name of each there may be several.
        log: Where to say that a node is left out, and that it is back; None, nowhere.
    """

    def __init__(self, pool: Pool, targets: Sequence[TcpTarget], log: logging.Logger | None) -> None:
        self._pool = pool
        self._targets = targets
        self._tls = targets[0].tls
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._due: dict[Node, asyncio.TimerHandle] = {}
        self._tasks = BackgroundTasks()
        self._known: dict[TcpTarget, Sequence[TcpTarget]] = {}
        self._resolve = asyncio.Event()

    def start(self) -> None:
        """Keep the nodes until the pool is closed."""
        self._pool.watcher = self
        if self._tls is not None:
            self._tls.follow()
        by_name = any(target.may_have_several_addresses for target in self._targets)
        if by_name:
            self._tasks.start(self._follow_names())
        if by_name or len(self._targets) > 1:
            self._tasks.start(self._notice_silence())

    # What the pool calls

    async def stop(self) -> None:
        for timer in self._due.values():
            timer.cancel()
        self._due.clear()
        await self._tasks.cancel()
        if self._tls is not None:
            await self._tls.close()

    def left_out(self, node: Node, error: TargetError) -> None:
        health = node.health
        if node not in self._pool.nodes or health.due_at is None:
            return
        timer = self._due.get(node)
        if timer is not None:
            timer.cancel()
        elif self._log is not None:
            name, fault = node.target.name, error.fault
            said = silent_text(name, fault.words) if node.hangs else unreachable_text(name, fault)
            fields = event("upstream-left-out", "network", failed=True, node=node.target.name)
            self._log.warning("%s%s", said, self._meanwhile(), extra=fields)
        self._due[node] = self._loop.call_at(health.due_at, self._probe, node)
        self._resolve.set()

    def came_back(self, node: Node) -> None:
        timer = self._due.pop(node, None)
        if timer is not None:
            timer.cancel()
            if self._log is not None:
                fields = event("upstream-back", "network", node=node.target.name)
                self._log.info("Elasticsearch at [%s] can be reached again", node.target.name, extra=fields)

    def _meanwhile(self) -> str:
        nodes = self._pool.nodes
        live = sum(not node.health.is_out for node in nodes)
        return f" (left out; {live} of {len(nodes)} nodes remain)" if len(nodes) > 1 else ""

    def _probe(self, node: Node) -> None:
        self._tasks.start(self._pool.probe(node))

    async def _notice_silence(self) -> None:
        silence = Silence()
        while True:
            await asyncio.sleep(LOOKED_AT_EVERY_S)
            nodes = () if self._pool.alone else self._pool.nodes
            for node in silence.to_ask(nodes, self._loop.time()):
                self._tasks.start(self._pool.ask(node))

    # Names

    async def _follow_names(self) -> None:
        while True:
            self._take(await resolved(self._targets, self._known))
            await asyncio.sleep(RESOLVED_AGAIN_S)
            self._resolve.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._resolve.wait(), RESOLVED_EVERY_S - RESOLVED_AGAIN_S)

    def _take(self, targets: Sequence[TcpTarget]) -> None:
        if set(targets) == {node.target for node in self._pool.nodes}:
            return
        self._pool.set_targets(targets)
        for node in [node for node in self._due if node not in self._pool.nodes]:
            self._due.pop(node).cancel()
        if self._log is not None:
            self._log.info("Elasticsearch is at %s", ", ".join(f"[{target.name}]" for target in targets))


def kept_pool(
    targets: Sequence[TcpTarget],
    settings: UpstreamSettings,
    *,
    idle_timeout_s: float,
    max_idle: int,
    log: logging.Logger | None = None,
) -> Pool:
    """Return connections to nodes, which are kept until it is closed, and with them the files for TLS.

    Args:
        targets: The nodes, which share one context for TLS.
        max_idle: The most idle connections that are kept.
        log: Where to say that a node is left out, and that it is back; None, nowhere.
    """
    pool = Pool(
        *targets,
        connect_timeout_s=settings.connect_timeout_s,
        idle_timeout_s=idle_timeout_s,
        max_idle=max_idle,
    )
    Keeper(pool, targets, log).start()
    return pool
