"""TLS between a connection of the event loop and the protocol that uses it.

asyncio and uvloop have such a layer, which does not fit a relay. It aborts a connection that it is asked to
close if the other side has not read all within a time, so that slow readers lose the ends of their answers.
It discards what has come when the other side ends while reading is paused. It cannot end one direction alone,
and it does not tell an end that the other side announced (RFC 8446 §6.1, `close_notify`) from one that an
attacker or a fault made, which matters for answers that end with their connection. Here bytes are decrypted
as they come, and encrypted as they are written; that is all, so that the protocol sees what it would without
TLS.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final, cast

HANDSHAKE_S: Final = 10.0
"""Seconds that a client may take for its handshake."""
_LINGER_S: Final = 1.0
"""Seconds that a client whose handshake has failed may take to close the connection."""
_RECORD: Final = 16 * 1024
"""The most bytes of a record, which OpenSSL gives at a time. Where it is asked for more, memory for that is
reserved and given back for each record, which takes several times as long as to decrypt it.
"""
_NOT_ANNOUNCED: Final = "the connection ended without a close_notify"


class TlsLayer(asyncio.Protocol):
    """Does the handshake, and then decrypts for `protocol`, which gets the connection from then on.

    Args:
        context: With `server_side`, that of a server.
        server_hostname: The name that a client asks for, and that it checks if its context says so.
        handshake_s: Seconds after which the handshake is given up; None leaves that to the caller.
        done: Called once: with None when the handshake is complete and `protocol` was told of it, or with the
            reason why there was none. Then `protocol` never hears of the connection.
    """

    _raw: asyncio.Transport
    _tls: ssl.SSLObject
    _transport: "TlsTransport | None" = None
    _timer: asyncio.TimerHandle | None = None
    _failure: Exception | None = None
    _announced = False

    def __init__(
        self,
        context: ssl.SSLContext,
        protocol: asyncio.Protocol,
        *,
        server_hostname: str | None = None,
        server_side: bool = False,
        handshake_s: float | None = None,
        done: Callable[[Exception | None], None] | None = None,
    ) -> None:
        self.protocol: Final = protocol
        self._context = context
        self._server_hostname = server_hostname
        self._server_side = server_side
        self._handshake_s = handshake_s
        self._done = done
        self._incoming: Final = ssl.MemoryBIO()
        self._outgoing: Final = ssl.MemoryBIO()

    @property
    def peer(self) -> str:
        """Return the address of the other side, for people."""
        peer: Any = self._raw.get_extra_info("peername")
        return str(peer[0]) if isinstance(peer, tuple) else "an unknown address"

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = cast("asyncio.Transport", transport)
        try:
            self._tls = self._context.wrap_bio(
                self._incoming,
                self._outgoing,
                server_side=self._server_side,
                server_hostname=self._server_hostname,
            )
        except (ssl.SSLError, ValueError, UnicodeError) as error:  # of the host's name
            self._give_up(error)
            return
        if self._handshake_s is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._handshake_s, self._give_up, TimeoutError())
        self._shake_hands()

    def data_received(self, data: bytes) -> None:
        if self._transport is not None:
            self._incoming.write(data)
            self._read(self._transport)
        elif self._failure is None:
            self._incoming.write(data)
            self._shake_hands()

    def eof_received(self) -> bool:
        if self._transport is None:
            if self._failure is None:
                self._give_up(ssl.SSLEOFError(ssl.SSL_ERROR_EOF, _NOT_ANNOUNCED))
        elif not self._announced:
            if self._failure is None:
                self._failure = ssl.SSLEOFError(ssl.SSL_ERROR_EOF, _NOT_ANNOUNCED)
            self.protocol.eof_received()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._transport.is_closed = True
            self.protocol.connection_lost(self._failure or exc)
        else:
            self._tell(self._failure or exc or ConnectionResetError())

    def pause_writing(self) -> None:
        if self._transport is not None:
            self.protocol.pause_writing()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self.protocol.resume_writing()

    # The handshake

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except ssl.SSLError as error:
            self._flush()  # the alert, which tells the other side
            self._give_up(error)
            return
        self._flush()
        self._transport = TlsTransport(self, self._raw, self._tls)
        self.protocol.connection_made(self._transport)
        self._tell(None)
        self._read(self._transport)  # what came with the end of the handshake

    def _tell(self, failure: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        done, self._done = self._done, None
        if done is not None:
            done(failure)

    def _give_up(self, failure: Exception) -> None:
        self._failure = failure
        if isinstance(failure, TimeoutError):
            self._raw.abort()
        elif self._timer is None or self._raw.is_closing():
            self._raw.close()
        else:
            # Closing with unread input would reset the connection, and the client not learn why.
            self._raw.write_eof()
            self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(_LINGER_S, self._raw.abort)

    def abandon(self) -> None:
        """Close immediately, whether or not the handshake is complete."""
        self._raw.abort()

    # Afterwards

    def _read(self, transport: "TlsTransport") -> None:
        """Decrypt all that has come: nothing is kept back, so that the protocol's pauses are the loop's."""
        pieces, failure = [], None
        try:
            while self._incoming.pending or self._tls.pending():
                piece = self._tls.read(_RECORD)
                if not piece:
                    self._announced = True
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._announced = True
        except ssl.SSLError as error:
            failure = error
        if self._outgoing.pending:
            self._flush()  # the answer to an update of keys, or an alert
        if pieces and not transport.is_closed:
            self.protocol.data_received(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if failure is not None:
            self.fail(failure)
        elif self._announced and not transport.is_closing() and not self.protocol.eof_received():
            transport.close()

    def fail(self, failure: Exception) -> None:
        """Abort, and tell the protocol why."""
        if self._failure is None:
            self._failure = failure
        self._raw.abort()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send; nothing after `close`, as transports of TCP have it."""
        if not data or self._raw.is_closing():
            return
        try:
            sent = self._tls.write(data)
            while sent < len(data):
                sent += self._tls.write(memoryview(data)[sent:])
        except ssl.SSLError as error:
            # There is no renegotiation, so that writing never waits: the session is broken.
            self.fail(error)
            return
        self._flush()

    def announce_end(self) -> None:
        """Send a `close_notify`."""
        with suppress(ssl.SSLError):  # usually that the other side's has not come yet
            self._tls.unwrap()
        self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending and not self._raw.is_closing():
            self._raw.write(self._outgoing.read())


class TlsTransport(asyncio.Transport):
    """What a protocol above a `TlsLayer` writes to: a transport that can do all that one of TCP can.

    Attributes:
        is_closed: Its connection is gone.
    """

    def __init__(self, layer: TlsLayer, raw: asyncio.Transport, tls: ssl.SSLObject) -> None:
        super().__init__({"ssl_object": tls, "sslcontext": tls.context})
        self._layer = layer
        self._raw = raw
        self._ended = False
        self.is_closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        found = super().get_extra_info(name)
        return self._raw.get_extra_info(name, default) if found is None else found

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._layer.write(data)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self._layer.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """End what is sent, and go on reading."""
        if not self._ended and not self._raw.is_closing():
            self._ended = True
            self._layer.announce_end()
            self._raw.write_eof()

    def close(self) -> None:
        """Close after what was written, in order."""
        if not self._ended and not self._raw.is_closing():
            self._ended = True
            self._layer.announce_end()
        self._raw.close()

    def abort(self) -> None:
        """Close immediately, which the other side can tell from an end in order."""
        self._raw.abort()

    def is_closing(self) -> bool:
        return self._raw.is_closing()

    def is_reading(self) -> bool:
        return self._raw.is_reading()

    def pause_reading(self) -> None:
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        self._raw.resume_reading()

    def get_write_buffer_size(self) -> int:
        return self._raw.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._raw.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._raw.set_write_buffer_limits(high, low)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        raise NotImplementedError("a protocol stays with its connection")

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._layer.protocol
