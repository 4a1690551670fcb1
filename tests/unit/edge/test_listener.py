import asyncio
import errno
import logging
import os
import socket

import pytest

from rerank_proxy.edge import listener as listener_module
from rerank_proxy.edge.listener import Listener, ListenError, bind
from rerank_proxy.settings import Address
from tests.support.raw_http import TIMEOUT_S


class Starved(socket.socket):
    """Its first connection is refused by the system."""

    refusals = 1

    def accept(self) -> tuple[socket.socket, object]:
        if Starved.refusals:
            Starved.refusals -= 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


class Greeting(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        transport.close()


async def test_accepting_goes_on_after_the_system_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listener_module, "_PAUSE_S", 0.01)
    with Starved(socket.AF_INET, socket.SOCK_STREAM) as starved:
        starved.bind(("127.0.0.1", 0))
        starved.listen()
        starved.setblocking(False)
        listener = Listener([starved], Greeting, 10)
        reader, writer = await asyncio.open_connection(*starved.getsockname())
        assert await asyncio.wait_for(reader.read(), TIMEOUT_S) == b"hello"
        writer.close()
        await writer.wait_closed()
        listener.close()
        listener.close()
        await listener.all_attached()
    assert Starved.refusals == 0
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "raise the limit of open files" in record.message


async def test_an_address_that_the_machine_lacks_is_left_out_of_a_name_that_has_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    absent = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("192.0.2.1", 0))
    present = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [absent, present])
    (listening,) = bind(Address("both", 0))
    with listening:
        assert listening.getsockname()[0] == "127.0.0.1"
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [absent])
    with pytest.raises(ListenError, match="cannot assign requested address"):
        bind(Address("absent", 0))
