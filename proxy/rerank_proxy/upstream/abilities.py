"""What upstream can do: which APIs it has, and which retrievers it knows and its licence allows.

That depends on upstream's version, plugins and licence, so it has to be probed, and again now and then. A
request waits for an answer only while there is none yet: later probes run in the background, and meanwhile
the last answer holds. After an upgrade or a change of the licence that may be an old one for a while: what
upstream could not do is then still done here, and what it could is refused by it.

The proxy has no credentials of its own, and an upstream with security tells nothing to a client that it does
not know. So a probe is sent with the headers of the caller whose request needs the answer; only at the
start, probes are tried without credentials. An answer holds for all callers, for it does not depend on who
asks. A refusal tells nothing, and the next request that needs an answer probes upstream again.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Final

from rerank_proxy.concurrency.tasks import BackgroundTasks, side_by_side
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.upstream.protocol import Reply, Upstream

EVALUATED: Final = ("linear", "pinned", "rrf")
"""The retrievers that can be evaluated here from ordinary searches alone."""

_RETRIEVERS_HOLD_S: Final = 30.0
_API_HOLDS_S: Final = 60.0
"""Seconds that an answer holds before it is asked for again. A licence can end at any time, as a trial does,
and until that is noticed searches are refused: so retrievers are probed more often than upgrades would need.
"""
_FIRST_ANSWER_S: Final = 5.0
"""Seconds that a request waits at most for an answer, if it waits."""
_LOOKED_AT_AGAIN_S: Final = 1.0
"""Seconds after which an answer that upstream seems to contradict is asked for again."""


class Ability:
    """One thing that upstream has or does not have, as far as it is known.

    Args:
        probe: Asks upstream for it; returns None where the answer tells nothing.
        holds_s: Seconds that an answer holds before it is asked for again.
        background: Holds the probe while it runs.
        clock: Seconds, never going back.

    Attributes:
        known: The last answer; None before the first one.
    """

    def __init__(
        self,
        probe: Callable[[Upstream], Awaitable[bool | None]],
        holds_s: float,
        background: BackgroundTasks,
        clock: Callable[[], float],
    ) -> None:
        self.known: bool | None = None
        self._probe = probe
        self._holds_s = holds_s
        self._background = background
        self._clock = clock
        self._answered_at = 0.0
        self._running: asyncio.Task[None] | None = None

    async def find_out(self, upstream: Upstream) -> bool | None:
        """Return the last answer, and probe upstream anew if it is old. Wait only for the first answer.

        Returns:
            None if there is no answer for this caller, or none in time.
        """
        if self.known is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_FIRST_ANSWER_S):
                    await self._first_answer(upstream)
        elif self._clock() - self._answered_at > self._holds_s:
            self.probe(upstream)
        return self.known

    async def look_again(self, upstream: Upstream) -> None:
        """Wait for a new answer, unless the last one has just come."""
        if self.known is None or self._clock() - self._answered_at > _LOOKED_AT_AGAIN_S:
            self.probe(upstream)
            assert self._running is not None
            await asyncio.wait([self._running], timeout=_FIRST_ANSWER_S)

    def probe(self, upstream: Upstream) -> None:
        """Probe upstream in the background, unless a probe runs."""
        if self._running is None or self._running.done():
            self._start(upstream)

    async def _first_answer(self, upstream: Upstream) -> None:
        """Wait for the probe that runs, which is another caller's; if it tells nothing, for this caller's.

        No caller waits for more: others' credentials may be no better than the first one's.
        """
        if self._running is not None and not self._running.done():
            await asyncio.wait([self._running])
        if self.known is None:
            await asyncio.wait([self._start(upstream)])

    def _start(self, upstream: Upstream) -> asyncio.Task[None]:
        self._running = self._background.start(self._run(upstream))
        return self._running

    async def _run(self, upstream: Upstream) -> None:
        try:
            answer = await self._probe(upstream)
        except ElasticsearchError:  # upstream cannot be reached: the next request probes it again
            return
        if answer is not None:
            self.known, self._answered_at = answer, self._clock()


class UpstreamApi:
    """Whether upstream has an API that is answered here too.

    Args:
        probe: The target of a GET request that tells.
    """

    def __init__(
        self, probe: str, background: BackgroundTasks, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ability = Ability(partial(_has_api, probe), _API_HOLDS_S, background, clock)

    async def exists(self, upstream: Upstream) -> bool:
        """Return whether upstream answers such requests.

        Where it does not tell this caller, it is left to upstream to answer the caller's request.
        """
        return await self._ability.find_out(upstream) is not False


class RetrieverSupport:
    """Which of the retrievers that can be evaluated here upstream does not evaluate.

    It does not know them, or its licence does not allow them: with a Basic one, it refuses `rrf` and `linear`
    before it reads them, and evaluates `pinned`.
    """

    def __init__(self, background: BackgroundTasks, clock: Callable[[], float] = time.monotonic) -> None:
        self._evaluates = {
            name: Ability(partial(_evaluates, name), _RETRIEVERS_HOLD_S, background, clock)
            for name in EVALUATED
        }

    @property
    def unavailable(self) -> frozenset[str]:
        """Return the retrievers that upstream has said it does not know, or is not licensed for."""
        return frozenset(name for name, ability in self._evaluates.items() if ability.known is False)

    def probe(self, upstream: Upstream) -> None:
        """Probe upstream for all retrievers in the background.

        Done at the start, without credentials: an upstream without security tells everyone, and so no search
        has to wait.
        """
        for ability in self._evaluates.values():
            ability.probe(upstream)

    async def find_out(self, names: Iterable[str], upstream: Upstream) -> None:
        """Find out about each of these retrievers; see `Ability.find_out`."""
        await side_by_side(self._evaluates[name].find_out(upstream) for name in names)

    async def look_again(self, names: Iterable[str], upstream: Upstream) -> None:
        """Find out about each of these retrievers anew: upstream has refused a search with them."""
        await side_by_side(self._evaluates[name].look_again(upstream) for name in names)


async def _has_api(probe: str, upstream: Upstream) -> bool | None:
    """Ask for something of the API. A 404 tells too: the probe was taken for the name of an index."""
    reply = await upstream.request("GET", probe, b"")
    if reply.status == 200:
        return True
    return False if reply.status == 404 or reply.has_no_handler else None


async def _evaluates(name: str, upstream: Upstream) -> bool | None:
    """Ask for an empty retriever: where it is known and allowed that is an error too: nothing is searched."""
    body = json.dumps({"retriever": {name: {}}}).encode()
    reply = await upstream.request("POST", "/_search?filter_path=error.reason", body)
    if reply.status not in (200, 400, 403):  # others tell nothing of it, as that the caller is not known
        return None
    return not (reply.is_of_licence or _says_unknown(reply, name))


def _says_unknown(reply: Reply, name: str) -> bool:
    if reply.status != 400:
        return False
    try:
        reason = json.loads(reply.body)["error"]["reason"]
    except (KeyError, RecursionError, TypeError, ValueError):
        return False
    return isinstance(reason, str) and reason.startswith(f"unknown retriever [{name}]")
