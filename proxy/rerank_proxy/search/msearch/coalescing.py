"""Searches of many requests that go on at the same time, sent upstream together.

Each request sees an `Upstream` of its own. A search waits until every request that still goes on has one
waiting; then all of them are sent as one `_msearch`. So there is one request upstream for each stage.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.search.msearch.lines import VALIDATION, Item, error_of, header_of, one_line, take_apart
from rerank_proxy.upstream.protocol import Reply, Upstream, UpstreamRefusedError, reading
from rerank_proxy.xcontent.splicing import members

_OPENED_AT_ONCE: Final = 16


class RoundFailedError(Exception):
    """None of the searches that were sent together has an answer, which is no single search's failure.

    Args:
        cause: What the client is to be told.
    """

    def __init__(self, cause: UpstreamRefusedError | ElasticsearchError) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass(slots=True, eq=False)
class _Waiting:
    participant: "Participant"
    item: Item
    answer: asyncio.Future[Reply] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@dataclass(slots=True)
class _PointInTime:
    opening: asyncio.Task[Reply]
    users: int = 0


class Rounds:
    """The searches of one client's request.

    Args:
        query: The query string of each inner `_msearch`.
        apart: Send each search of a round that cannot be read again by itself, and let the refusal be its own
            answer. Else the refusal is the whole request's.
    """

    def __init__(self, upstream: Upstream, query: str, *, apart: bool = False) -> None:
        self.upstream = upstream
        self.last: Reply | None = None
        """The last answer to a round."""
        self.warnings: dict[str, None] = {}
        """All values of `Warning` headers of rounds, in order."""
        self._target = f"/_msearch?{query}" if query else "/_msearch"
        self._apart = apart
        self._live: set[Participant] = set()
        self._waiting: list[_Waiting] = []
        self._round: asyncio.Task[None] | None = None
        self._looks = False
        self._opened: dict[str, _PointInTime] = {}
        self._openings = asyncio.Semaphore(_OPENED_AT_ONCE)

    def join(self) -> "Participant":
        """A further request. Rounds wait for it until it leaves."""
        participant = Participant(self)
        self._live.add(participant)
        return participant

    def leave(self, participant: "Participant") -> None:
        self._live.discard(participant)
        self._look_later()

    async def search(self, participant: "Participant", item: Item) -> Reply:
        waiting = _Waiting(participant, Item(item.header, one_line(item.body)))
        self._waiting.append(waiting)
        self._look_later()
        return await waiting.answer

    async def close(self) -> None:
        """Cancel what is under way."""
        if self._round is not None:
            self._round.cancel()
            await asyncio.wait([self._round])

    def _look_later(self) -> None:
        """After what is ready to run now: it may be about to search too."""
        if not self._looks:
            self._looks = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        """Begin a round if nobody is left to wait for."""
        self._looks = False
        self._waiting = [waiting for waiting in self._waiting if not waiting.answer.done()]
        if self._round is not None or not self._waiting:
            return
        if self._live.issubset({waiting.participant for waiting in self._waiting}):
            searches, self._waiting = self._waiting, []
            self._round = asyncio.create_task(self._run(searches))

    async def _run(self, searches: Sequence[_Waiting]) -> None:
        try:
            await self._send(searches)
        except (UpstreamRefusedError, ElasticsearchError) as failure:
            _fail(searches, RoundFailedError(failure))
        except Exception as defect:  # whatever it is, who waits must hear of it
            _fail(searches, defect)
        finally:
            self._round = None
            self._look_later()

    async def _send(self, searches: Sequence[_Waiting]) -> None:
        body = b"".join(waiting.item.lines() for waiting in searches)
        reply = await self.upstream.request("POST", self._target, body)
        if reply.status == 200:
            self._hand_out(searches, reply)
        elif not self._apart or reply.status != 400 or error_of(reply.body)[0] == VALIDATION:
            raise UpstreamRefusedError(reply)
        elif len(searches) == 1:
            _answer(searches[0], reply)
        else:
            for waiting in searches:
                await self._send([waiting])

    def _hand_out(self, searches: Sequence[_Waiting], reply: Reply) -> None:
        with reading("an inner [_msearch]"):
            pairs = list(zip(searches, take_apart(reply.body), strict=True))
        self.last = reply
        self.warnings.update(dict.fromkeys(v for n, v in reply.headers if n.lower() == "warning"))
        for waiting, (status, body) in pairs:
            _answer(waiting, Reply(status, reply.headers, body))

    async def open_pit(self, target: str) -> Reply:
        """Open a point in time, or use one that was opened for another request of the same words."""
        shared = self._opened.get(target)
        if shared is None:
            shared = self._opened[target] = _PointInTime(asyncio.create_task(self._open(target)))
        shared.users += 1
        return await asyncio.shield(shared.opening)

    async def _open(self, target: str) -> Reply:
        reply = None
        try:
            async with self._openings:
                reply = await self.upstream.request("POST", target, b"")
            return reply
        finally:
            if reply is None or reply.status != 200:
                del self._opened[target]

    async def close_pit(self, body: bytes) -> Reply:
        """Close a point in time once the last of its users wants that."""
        for target, shared in self._opened.items():
            if _is_of(shared.opening, body):
                shared.users -= 1
                if shared.users > 0:
                    return Reply(200, (), b'{"succeeded":true,"num_freed":0}')
                del self._opened[target]
                break
        return await self.upstream.request("DELETE", "/_pit", body)


class Participant:
    """`Upstream` as one of the requests sees it."""

    def __init__(self, rounds: Rounds) -> None:
        self._rounds = rounds

    @property
    def caller(self) -> bytes:
        return self._rounds.upstream.caller

    async def request(self, method: str, target: str, body: bytes) -> Reply:
        path = target.partition("?")[0]
        if method == "POST" and path.endswith("/_search"):
            return await self._rounds.search(self, Item(header_of(target), body))
        if method == "POST" and path.endswith("/_pit"):
            return await self._rounds.open_pit(target)
        if method == "DELETE" and path == "/_pit":
            return await self._rounds.close_pit(body)
        return await self._rounds.upstream.request(method, target, body)

    async def search(self, item: Item) -> Reply:
        """A search in the lines that the client wrote."""
        return await self._rounds.search(self, item)


def _is_of(opening: asyncio.Task[Reply], body: bytes) -> bool:
    """Whether a request to close is for the point in time that was opened so."""
    if not opening.done() or opening.cancelled() or opening.exception() is not None:
        return False
    return opening.result().status == 200 and members(opening.result().body)["id"] == members(body)["id"]


def _answer(waiting: _Waiting, reply: Reply) -> None:
    if not waiting.answer.done():
        waiting.answer.set_result(reply)


def _fail(searches: Sequence[_Waiting], failure: Exception) -> None:
    for waiting in searches:
        if not waiting.answer.done():
            waiting.answer.set_exception(failure)
