"""What a client sees of one request, directly and through the proxy, and what of that may differ.

`CHANGING` is the table of what differs between any two answers of Elasticsearch itself; it is left out of the
comparison. What the proxy may change is the business of the tests.
"""

import asyncio
import re
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple

from tests.support.raw_http import Message, Wire, connect


class Changing(NamedTuple):
    """A part of Elasticsearch's answers that no two of them have in common."""

    pattern: re.Pattern[bytes]
    reason: str


def _field(names: bytes, value: bytes = rb'(?:"[^"]*"|[-0-9.E]+)') -> re.Pattern[bytes]:
    return re.compile(rb'("(?:' + names + rb')"\s*:\s*)' + value)


CHANGING: Final = (
    Changing(
        _field(rb"took|took_in_millis|took_in_nanos|took_ms|\w*time_in_millis|\w*time_in_nanos"), "durations"
    ),
    Changing(
        _field(rb"timestamp|creation_date|creation_date_string|\w*_millis|\w*_nanos|current_time|now|time"),
        "the clock",
    ),
    Changing(
        _field(rb"_version|_seq_no|version|state_uuid|_scroll_id|id|index_uuid|uuid"), "counters and ids"
    ),
    Changing(
        re.compile(rb"([\"/\[])(?=[^\"/\]]*[A-Z])[A-Za-z0-9_-]{20,22}(?=[\"/\]])"),
        "ids that Elasticsearch makes",
    ),
)

_PROBE: Final = b"HEAD / HTTP/1.1\r\nHost: h\r\nX-Opaque-Id: probe\r\n\r\n"
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_CONNECTION: Final = re.compile(rb"\r\nconnection:[^\r]*", re.IGNORECASE)
_LOCATION: Final = re.compile(rb"(\r\nLocation: [^\r]*/)[A-Za-z0-9_-]{20}(?=\r)")
"""Of a document whose id Elasticsearch has made."""
_LENGTH: Final = re.compile(rb"(\r\ncontent-length: *)([0-9]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Seen:
    """What came back on one connection.

    Attributes:
        answers: Interim ones included.
        is_open: The connection takes another request; None where that was not asked.
    """

    answers: tuple[Message, ...]
    is_open: bool | None

    @property
    def status(self) -> int:
        """That of the last answer; 0 without one."""
        return self.answers[-1].status if self.answers else 0

    @property
    def summary(self) -> str:
        """The statuses, and what became of the connection."""
        end = {True: ["open"], False: ["closed"], None: []}[self.is_open]
        return " ".join([*(str(answer.status) for answer in self.answers), *end])

    @property
    def comparable(self) -> list[tuple[bytes, bytes]]:
        """Heads and bodies, without what changes from answer to answer."""
        return [comparable(answer) for answer in self.answers]


def comparable(answer: Message) -> tuple[bytes, bytes]:
    """Return head and content of an answer, without what changes, its chunk sizes, and `connection`."""
    head = _CONNECTION.sub(b"", answer.head)
    head = _LOCATION.sub(rb"\1_", head)
    content = dechunked(answer.body) if answer.body and _CHUNKED.search(head) else answer.body
    stable = content
    for changing in CHANGING:
        stable = changing.pattern.sub(rb"\1_", stable)
    if length := _LENGTH.search(head):
        announced = int(length[2])
        if announced == len(content) and stable != content:
            head = _LENGTH.sub(rb"\1_", head)
    return head, stable


def dechunked(body: bytes) -> bytes:
    """Return the content of a body in chunks."""
    content: list[bytes] = []
    at = 0
    while True:
        line = body.index(b"\r\n", at)
        size = int(body[at:line].partition(b";")[0], 16)
        if not size:
            return b"".join(content)
        content.append(body[line + 2 : line + 2 + size])
        at = line + 4 + size


async def see(
    port: int,
    pieces: Sequence[bytes],
    bodies: Sequence[bool] = (True,),
    *,
    reads_on: bool = True,
    is_cut: bool = False,
    tls: ssl.SSLContext | None = None,
) -> Seen:
    """Send pieces on a new connection, and return what comes back.

    Args:
        bodies: An entry for each final answer that is expected: whether it has a body.
        reads_on: What becomes of the connection is asked for.
        is_cut: A part of the request is not sent. Where the answer does not say that the connection closes,
            that part may still be waited for, and the connection is asked for nothing.
        tls: How the other side's certificate is checked.
    """
    answers: list[Message] = []
    async with connect(port, tls=tls) as wire:
        with suppress(ConnectionError):  # it may be answered, and the connection closed, before all is sent
            await wire.send(*pieces)
        try:
            for has_body in bodies:
                answers += await final_answer(wire, has_body=has_body)
            if not reads_on or (is_cut and answers[-1].field("connection") != "close"):
                return Seen(tuple(answers), is_open=None)
            await wire.send(_PROBE)
            probe = (await final_answer(wire, has_body=False))[-1]
        except (asyncio.IncompleteReadError, ConnectionError):
            return Seen(tuple(answers), is_open=False)
    return Seen(tuple(answers), is_open=probe.field("x-opaque-id") == "probe")


async def final_answer(wire: Wire, *, has_body: bool) -> list[Message]:
    """Return the next answer, with the interim ones before it."""
    answers = [await wire.read_message(has_body=has_body)]
    while answers[-1].status < 200:
        answers.append(await wire.read_message(has_body=has_body))
    return answers
