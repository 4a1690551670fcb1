"""Request coalescing: inner searches of several searches that go on at the same time go upstream together.

Each search sees an `Upstream` of its own. Its inner search waits until every search that still goes on has
one waiting; then all of them are sent as one `_msearch`. So there is one request upstream for each stage.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.observe import stages
from rerank_proxy.search.msearch.lines import VALIDATION, Item, error_of, header_of, one_line, take_apart
from rerank_proxy.upstream.protocol import Reply, Upstream, UpstreamRefusedError, reading
from rerank_proxy.xcontent.splicing import members

_OPENED_AT_ONCE: Final = 16


class CoalescedRequestError(Exception):
    """A coalesced request has no answer, and so none of its searches has one.

    Args:
        cause: What the client is to be told.
    """

    def __init__(self, cause: UpstreamRefusedError | ElasticsearchError) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass(slots=True, eq=False)
class _Waiting:
    """An inner search that is to be sent with others."""

    sender: "CoalescedUpstream"
    item: Item
    answer: asyncio.Future[Reply] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@dataclass(slots=True)
class _PointInTime:
    opening: asyncio.Task[Reply]
    users: int = 0


class Coalescer:
    """Sends the inner searches of one client's request together.

    Args:
        query: The query string of each coalesced request.
        apart: Send each search of a coalesced request that cannot be read again by itself, and let the
            refusal be
            its own answer. Else the refusal is the whole request's.

    Attributes:
        last: The last answer to a coalesced request.
        warnings: All values of `Warning` headers of coalesced requests, in order.
    """

    def __init__(self, upstream: Upstream, query: str, *, apart: bool = False) -> None:
        self.upstream = upstream
        self.last: Reply | None = None
        self.warnings: dict[str, None] = {}
        self._activity = stages.current()
        self._target = f"/_msearch?{query}" if query else "/_msearch"
        self._apart = apart
        self._joined: set[CoalescedUpstream] = set()
        self._waiting: list[_Waiting] = []
        self._requests = BackgroundTasks()
        self._is_sending = False
        self._is_check_due = False
        self._points_in_time: dict[str, _PointInTime] = {}
        self._openings = BackgroundTasks()
        self._may_open = asyncio.Semaphore(_OPENED_AT_ONCE)

    def join(self) -> "CoalescedUpstream":
        """Return upstream for a further search. Requests wait for that search until it leaves."""
        sender = CoalescedUpstream(self)
        self._joined.add(sender)
        return sender

    def leave(self, sender: "CoalescedUpstream") -> None:
        """Wait no more for the search that has this upstream."""
        self._joined.discard(sender)
        self._check_soon()

    async def search(self, sender: "CoalescedUpstream", item: Item) -> Reply:
        """Send an inner search together with others, and return its answer."""
        waiting = _Waiting(sender, Item(item.header, one_line(item.body)))
        self._waiting.append(waiting)
        self._check_soon()
        return await waiting.answer

    async def close(self) -> None:
        """Cancel the request that is under way."""
        await self._requests.cancel()

    def _check_soon(self) -> None:
        """Check after what is ready to run now: that may be about to search too."""
        if not self._is_check_due:
            self._is_check_due = True
            asyncio.get_running_loop().call_soon(self._check)

    def _check(self) -> None:
        """Begin a request if there is no search left to wait for."""
        self._is_check_due = False
        self._waiting = [waiting for waiting in self._waiting if not waiting.answer.done()]
        if self._is_sending or not self._waiting:
            return
        if self._joined.issubset({waiting.sender for waiting in self._waiting}):
            searches, self._waiting = self._waiting, []
            self._is_sending = True
            self._requests.start(self._run(searches))

    async def _run(self, searches: Sequence[_Waiting]) -> None:
        stages.enter(self._activity)  # of the client's request, and of none of its searches
        try:
            await self._send(searches)
        except (UpstreamRefusedError, ElasticsearchError) as failure:
            _fail(searches, CoalescedRequestError(failure))
        except Exception as defect:  # its searches wait, and must hear of it
            _fail(searches, defect)
        finally:
            self._is_sending = False
            self._check_soon()

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
        """Open a point in time, or use one that was opened for another search by an equal request."""
        shared = self._points_in_time.get(target)
        if shared is None:
            shared = self._points_in_time[target] = _PointInTime(self._openings.start(self._open(target)))
        shared.users += 1
        return await asyncio.shield(shared.opening)

    async def _open(self, target: str) -> Reply:
        stages.enter(self._activity)
        reply = None
        try:
            async with self._may_open:
                reply = await self.upstream.request("POST", target, b"")
            return reply
        finally:
            if reply is None or reply.status != 200:
                del self._points_in_time[target]

    async def close_pit(self, body: bytes) -> Reply:
        """Close a point in time, or wait with that for the last of its users."""
        for target, shared in self._points_in_time.items():
            if _is_of(shared.opening, body):
                shared.users -= 1
                if shared.users > 0:
                    return Reply(200, (), b'{"succeeded":true,"num_freed":0}')
                del self._points_in_time[target]
                break
        return await self.upstream.request("DELETE", "/_pit", body)


class CoalescedUpstream:
    """`Upstream` for one of the searches whose requests are coalesced."""

    def __init__(self, coalescer: Coalescer) -> None:
        self._coalescer = coalescer

    @property
    def caller(self) -> bytes:
        return self._coalescer.upstream.caller

    async def request(self, method: str, target: str, body: bytes) -> Reply:
        path = target.partition("?")[0]
        if method == "POST" and path.endswith("/_search"):
            with stages.stage(None, "coalesced search"):
                return await self._coalescer.search(self, Item(header_of(target), body))
        if method == "POST" and path.endswith("/_pit"):
            return await self._coalescer.open_pit(target)
        if method == "DELETE" and path == "/_pit":
            return await self._coalescer.close_pit(body)
        return await self._coalescer.upstream.request(method, target, body)

    async def search(self, item: Item) -> Reply:
        """Send a search in the lines that the client wrote."""
        return await self._coalescer.search(self, item)


def _is_of(opening: asyncio.Task[Reply], body: bytes) -> bool:
    """Return whether a request to close is for the point in time that this task opened."""
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
