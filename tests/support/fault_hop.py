"""A hop between two sides of HTTP that does to one exchange what a fault says, and passes on all others.

It counts what it passed on, so that a test sees whether anything came twice. Requests and answers are read
whole before they go on, so it is meant for small ones.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

from tests.support.raw_http import TIMEOUT_S, Message, Wire

Place = Literal["none", "within the head", "the head", "within the body", "all but a byte", "all"]
"""How much of a message comes through before the fault; of a request's head all comes in one piece."""
Act = Literal["reset", "end", "stall", "garbage", "trickle"]
"""The connection is reset or ended; nothing more comes; something else comes, then the end; or the rest comes
byte by byte."""

GARBAGE: Final = b"\x15\x03\x03\x00\x02\x02\x28SSH-2.0\r\n\r\n"


@dataclass(frozen=True)
class Fault:
    """What befalls an exchange.

    Attributes:
        of: The request is cut short on its way, so that it does not arrive; or its answer is.
    """

    of: Literal["request", "answer"]
    place: Place
    act: Act

    def __str__(self) -> str:
        return f"{self.act} after {self.place} of the {self.of}"

    def let_through(self, message: Message) -> int:
        """Return how many bytes of it come through."""
        head, whole = len(message.head), len(message.raw)
        return {
            "none": 0,
            "within the head": head // 2,
            "the head": head,
            "within the body": head + len(message.body) // 2,
            "all but a byte": whole - 1,
            "all": whole,
        }[self.place]


@dataclass
class Exchange:
    """What the hop saw of one request.

    Attributes:
        passed: It was sent on, all of it.
        answer: What came back, of which the other side may have got a part.
    """

    head: bytes
    passed: bool = False
    answer: Message | None = None

    @property
    def call(self) -> str:
        """The method and the path."""
        method, target = self.head.split(b" ", 2)[:2]
        return f"{method.decode()} {target.partition(b'?')[0].decode()}"


@dataclass
class FaultHop:
    """A running hop.

    Attributes:
        exchanges: What came since `arm`.
        stalled: Set when a fault stalls.
        struck: The exchange that the fault befell.
    """

    port: int = 0
    exchanges: list[Exchange] = field(default_factory=list)
    stalled: asyncio.Event = field(default_factory=asyncio.Event)
    struck: Exchange | None = None
    _upstream: tuple[str, int] = ("", 0)
    _fault: tuple[int, Fault] | None = None
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _wires: set[Wire] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def arm(self, fault: Fault | None = None, number: int = 0) -> None:
        """Forget what came, and let the fault befall the exchange of this number, counted from 0."""
        self.exchanges = []
        self.stalled = asyncio.Event()
        self.struck = None
        self._fault = None if fault is None else (number, fault)

    def passed(self, call: str) -> int:
        """Return how many such requests were sent on since `arm`."""
        return sum(each.passed and each.call == call for each in self.exchanges)

    def points_in_time(self) -> list[str]:
        """Return the ids of those that were opened since `arm`, also where the answer was lost."""
        return [
            json.loads(each.answer.content)["id"]
            for each in self.exchanges
            if each.answer is not None and each.call.startswith("POST ") and each.call.endswith("/_pit")
        ]

    async def listen(self) -> None:
        """Take connections, as at first or again after `refuse`."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Take no connections any more. Those that are open stay so."""
        assert self._server is not None
        self._server.close()

    def lead_to(self, url: str) -> None:
        """Connect to the HTTP server at `url` from now on."""
        parts = urlsplit(url)
        self._upstream = parts.hostname or "", parts.port or 80

    def drop(self) -> None:
        """Reset all connections, as when what is behind the hop dies."""
        for wire in list(self._wires):
            wire.reset()

    async def close(self) -> None:
        self.refuse()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        wire = Wire(reader, writer)
        self._tasks.add(task)
        self._wires.add(wire)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._serve(wire)
        writer.transport.abort()
        self._wires.discard(wire)
        self._tasks.discard(task)

    async def _serve(self, wire: Wire) -> None:
        behind: Wire | None = None
        try:
            while True:
                head = await wire.read_head()
                fault = self._fault_of(len(self.exchanges))
                exchange = Exchange(head)
                self.exchanges.append(exchange)
                if fault is not None:
                    self.struck = exchange
                request = await self._request(wire, head, fault)
                behind = behind or await self._connect()
                answer = exchange.answer = await self._answer(wire, behind, exchange, request)
                if fault is None:
                    await wire.send(answer.raw)
                    continue
                end = fault.let_through(answer)
                await wire.send(answer.raw[:end])
                await self._act(wire, fault, answer.raw[end:])
        finally:
            if behind is not None:
                behind.reset()

    def _fault_of(self, number: int) -> Fault | None:
        if self._fault is None or self._fault[0] != number:
            return None
        fault, self._fault = self._fault[1], None
        return fault

    async def _request(self, wire: Wire, head: bytes, fault: Fault | None) -> Message:
        """Return the whole request. One that is cut short raises ConnectionError."""
        if fault is not None and fault.of == "request" and fault.place in ("none", "the head"):
            await self._act(wire, fault, b"")
        request = Message(head, await wire.read_body(head))
        if fault is not None and fault.of == "request":
            await self._act(wire, fault, b"")
        return request

    async def _answer(self, wire: Wire, behind: Wire, exchange: Exchange, request: Message) -> Message:
        """Return the answer; raise ConnectionError when the other side leaves meanwhile."""
        leaving = asyncio.create_task(wire.ends_next())
        await behind.send(request.raw)
        exchange.passed = True
        answering = asyncio.create_task(behind.read_message(has_body=not exchange.call.startswith("HEAD ")))
        try:
            await asyncio.wait((leaving, answering), return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                raise ConnectionResetError
            return answering.result()
        finally:
            for task in (leaving, answering):
                task.cancel()
            await asyncio.gather(leaving, answering, return_exceptions=True)

    async def _act(self, wire: Wire, fault: Fault, rest: bytes) -> None:
        if fault.act == "trickle":
            await wire.send(*(rest[at : at + 1] for at in range(len(rest))))
            return
        if fault.act == "garbage":
            await wire.send(GARBAGE)
        elif fault.act == "stall":
            self.stalled.set()
            await wire.ended()
        elif fault.act == "reset":
            wire.reset()
        raise ConnectionResetError

    async def _connect(self) -> Wire:
        return Wire(*await asyncio.wait_for(asyncio.open_connection(*self._upstream), TIMEOUT_S))


@asynccontextmanager
async def fault_hop(url: str) -> AsyncIterator[FaultHop]:
    """Serve in front of the HTTP server at `url`."""
    hop = FaultHop()
    hop.lead_to(url)
    await hop.listen()
    try:
        yield hop
    finally:
        await hop.close()
