"""How an edge finishes what is under way, in each process that has one."""

import asyncio
import logging

from rerank_proxy.edge.server import Edge
from rerank_proxy.settings import LifecycleSettings

logger = logging.getLogger(__name__)


async def finish(edge: Edge, lifecycle: LifecycleSettings) -> None:
    """Let the edge serve for `lifecycle.drain_delay_s`, and then finish what is under way."""
    edge.announce_end()
    await asyncio.sleep(lifecycle.drain_delay_s)  # the listener still accepts
    if not await edge.drain(lifecycle.shutdown_timeout_s):
        logger.warning(
            "some requests were not finished within [lifecycle.shutdown_timeout_s: %gs] and are cut off",
            lifecycle.shutdown_timeout_s,
        )
