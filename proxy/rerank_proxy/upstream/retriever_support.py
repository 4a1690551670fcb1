"""Which retrievers upstream does not know, so that searches with them are evaluated here.

A licence or a plugin that is missing is something else: upstream then knows the retriever and refuses it, and
its answer stands.
"""

import json
import time
from collections.abc import Callable, Sequence
from typing import Final

from rerank_proxy.concurrency.offload import answer_size, offload
from rerank_proxy.search.language.request import SearchRequest, parse_search
from rerank_proxy.upstream.protocol import Reply, Upstream
from rerank_proxy.xcontent.params import Params

EVALUATED: Final = ("linear", "pinned", "rrf")
"""What can be evaluated from ordinary searches alone."""

_RECHECK_S: Final = 600.0
"""Seconds that an answer is believed: upstream may be upgraded."""


class UnknownRetrievers:
    """Asks upstream once in a while, when a request names one of the retrievers.

    Args:
        clock: Seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._checked: dict[str, tuple[bool, float]] = {}

    @property
    def unknown(self) -> frozenset[str]:
        """Those that upstream said it does not know."""
        return frozenset(name for name, (is_unknown, _) in self._checked.items() if is_unknown)

    def parse(self, index: str | None, params: Params, body: bytes) -> SearchRequest | None:
        """`parse_search`, for which a search with what upstream does not know is ours too."""
        return parse_search(index, params, body, evaluate=self.unknown)

    async def look(self, body: bytes, upstream: Callable[[], Upstream]) -> None:
        """Find out about the retrievers that a body may hold."""
        stale = [name for name in EVALUATED if self._is_stale(name)]
        for name in await offload(answer_size(body), _named, body, stale) if stale else ():
            await self._ask(name, upstream())

    def _is_stale(self, name: str) -> bool:
        _, at = self._checked.get(name, (False, float("-inf")))
        return self._clock() - at > _RECHECK_S

    async def _ask(self, name: str, upstream: Upstream) -> None:
        """With an empty retriever: where it is known that is an error, too, and nothing is searched."""
        body = json.dumps({"retriever": {name: {}}}).encode()
        reply = await upstream.request("POST", "/_search?filter_path=error.reason", body)
        if reply.status in (200, 400, 403):  # others say nothing of it, as that the caller is not known
            self._checked[name] = (_says_unknown(reply, name), self._clock())


def _named(body: bytes, retrievers: Sequence[str]) -> list[str]:
    """Those of `retrievers` that a body may hold."""
    if b'"retriever' not in body:
        return []
    return [name for name in retrievers if b'"%b"' % name.encode() in body]


def _says_unknown(reply: Reply, name: str) -> bool:
    if reply.status != 400:
        return False
    try:
        reason = json.loads(reply.body)["error"]["reason"]
    except (KeyError, RecursionError, TypeError, ValueError):
        return False
    return isinstance(reason, str) and reason.startswith(f"unknown retriever [{name}]")
