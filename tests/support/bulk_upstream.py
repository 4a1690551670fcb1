"""An upstream for large bodies: it costs hardly any processor time, and keeps nothing."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

PIECE: Final = memoryview(bytes(1024 * 1024))
OK: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@contextmanager
def bulk_upstream() -> Iterator[str]:
    """Serve on a free port, and return the URL.

    It answers `/SIZE` with so many bytes. All else it answers with `ok` once it has the request, of which it
    drops the body.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        threading.Thread(target=_accept, args=(server,), daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)  # wakes the thread


def _accept(server: socket.socket) -> None:
    with suppress(OSError):
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_serve, args=(connection,), daemon=True).start()


def _serve(connection: socket.socket) -> None:
    with connection, suppress(OSError):
        while head := read_head(connection):
            drop_body(connection, head)
            asked = re.match(rb"GET /(\d+) ", head)
            if asked is None:
                connection.sendall(OK)
            else:
                send_zeros(
                    connection, b"HTTP/1.1 200 OK\r\ncontent-length: %b\r\n\r\n" % asked[1], int(asked[1])
                )


def read_head(connection: socket.socket) -> bytes:
    """Return a head and no byte more; nothing at the end."""
    while True:
        seen = connection.recv(65536, socket.MSG_PEEK)
        if not seen:
            return b""
        end = seen.find(b"\r\n\r\n")
        if end >= 0:
            return connection.recv(end + 4)
        if len(seen) == 65536:
            raise AssertionError("a head without an end")


def drop_body(connection: socket.socket, head: bytes) -> int:
    """Read the body behind a head, and return how long it was."""
    if b"\r\ntransfer-encoding: chunked\r\n" in head.lower():
        last, total = b"", 0
        while not last.endswith(b"0\r\n\r\n"):
            data = connection.recv(len(PIECE))
            if not data:
                raise ConnectionResetError
            last, total = (last + data)[-5:], total + len(data)
        return total
    match = re.search(rb"\r\ncontent-length: *(\d+)\r\n", head.lower())
    missing = size = int(match[1]) if match is not None else 0
    room = bytearray(min(size, len(PIECE)))
    while missing:
        count = connection.recv_into(room, min(missing, len(room)))
        if not count:
            raise ConnectionResetError
        missing -= count
    return size


def send_zeros(connection: socket.socket, head: bytes, size: int) -> None:
    connection.sendall(head)
    for at in range(0, size, len(PIECE)):
        connection.sendall(PIECE[: size - at])


def send_zeros_chunked(connection: socket.socket, head: bytes, size: int) -> None:
    connection.sendall(head + b"transfer-encoding: chunked\r\n\r\n")
    for _ in range(0, size, len(PIECE)):
        connection.sendall(b"%x\r\n" % len(PIECE))
        connection.sendall(PIECE)
        connection.sendall(b"\r\n")
    connection.sendall(b"0\r\n\r\n")
