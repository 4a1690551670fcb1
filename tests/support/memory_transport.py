"""A transport without a network: tests decide how bytes are cut, and when a side is slow."""

import asyncio
import os
import re
import socket
from collections.abc import Iterable
from typing import Any

from rerank_proxy.http import handover

_READ_END, _WRITE_END = os.pipe()
_REQUEST_ID = re.compile(rb"%b: ([^\r]*)\r\n" % handover.REQUEST_ID.encode())


class _Socket:
    """One on which nothing ever arrives."""

    family = socket.AF_INET

    def fileno(self) -> int:
        return _READ_END

    def setsockopt(self, *_: object) -> None:
        pass


class MemoryTransport(asyncio.Transport):
    """Keeps what is written to it, less the ids of requests, which are new each time.

    Attributes:
        request_ids: These ids.
        ended: `write_eof` was called.
        reading: False while the protocol wants to get nothing.
        unsent: What `get_write_buffer_size` says, once each; then 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.request_ids: list[bytes] = []
        self.ended = False
        self.reading = True
        self.unsent: list[int] = []
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self._closing, "written after its end"
        assert not self.ended, "written after `write_eof`"
        self.request_ids += _REQUEST_ID.findall(data)
        self.written += _REQUEST_ID.sub(b"", data)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        for data in list_of_data:
            self.write(data)

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self._closing = True

    def abort(self) -> None:
        self._closing = True

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return self.unsent.pop(0) if self.unsent else 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return _Socket() if name == "socket" else default
