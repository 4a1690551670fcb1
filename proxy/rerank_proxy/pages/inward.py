"""One request to the edge in this process, over a pair of sockets in place of a port.

The edge serves its end as any client's connection, without TLS: no port is dialled, so that neither its TLS
nor the certificates that it may ask of clients stand in the way. Closing the connection cancels the request.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Final

from rerank_proxy.http.answer_reader import AnswerReader
from rerank_proxy.http.messages import Response, fields_of, print_head, to_text

Attach = Callable[[socket.socket], None]
"""Has the edge serve a connection that is open."""

_CHUNK: Final = 64 * 1024


async def ask(
    attach: Attach,
    method: str,
    target: str,
    headers: Sequence[tuple[str, str]],
    body: bytes,
    max_body: int,
) -> Response:
    """Send a request and return its answer, without content coding.

    Args:
        max_body: The most bytes of the answer's body.

    Raises:
        AnswerError: There is no complete answer, as when the edge stops.
        TooLargeError: It is larger than it may be.
        ElasticsearchError: 400, a header holds a control character.
    """
    fields = [*headers, ("Content-Length", str(len(body))), ("Connection", "close")]
    head = print_head(f"{method} {target} HTTP/1.1".encode("ascii"), fields)
    ours, theirs = socket.socketpair()
    with ExitStack() as undo:
        undo.callback(ours.close)
        attach(theirs)
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        undo.pop_all()  # the connection closes it
    try:
        writer.writelines([head, body])
        return await _answer(reader, max_body)
    finally:
        writer.transport.abort()


async def _answer(reader: asyncio.StreamReader, max_body: int) -> Response:
    answer = AnswerReader(max_body)
    while not answer.done:
        try:
            data = await reader.read(_CHUNK)
        except ConnectionError:  # the edge stops
            data = b""
        if data:
            answer.feed(data)
        else:
            answer.ended()
    assert answer.head is not None
    named = [(name.decode("ascii").lower(), to_text(value)) for name, value in fields_of(answer.head.raw)]
    return Response(answer.head.status, named, b"".join(answer.pieces))
