"""Where connections lead to: upstream over TCP, or the application over its UNIX socket."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from rerank_proxy.http.connection_faults import ConnectionFault
from rerank_proxy.http.tls_layer import TlsLayer
from rerank_proxy.settings import UpstreamSettings
from rerank_proxy.tls.owned import OwnedContext
from rerank_proxy.upstream.address import host_header
from rerank_proxy.upstream.tls import upstream_tls

P = TypeVar("P", bound=asyncio.Protocol)


class TargetError(Exception):
    """A target cannot be connected to."""

    def __init__(self, fault: ConnectionFault) -> None:
        super().__init__(fault.words)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class TcpTarget:
    """Upstream.

    Attributes:
        name: What messages call it: its URL.
        host_header: What `Host` becomes on the way there; None keeps the client's.
        tls: None for plain HTTP.
        server_name: What is asked for, and looked for in the certificate.
    """

    name: str
    host: str
    port: int
    host_header: bytes | None
    tls: OwnedContext | None
    server_name: str

    @classmethod
    def from_settings(cls, settings: UpstreamSettings) -> "TcpTarget":
        """Return the target of `upstream.url`.

        Raises:
            InvalidSettingsError: The files for TLS are unfit.
        """
        url = urlsplit(settings.url)
        return cls(
            name=settings.url,
            host=url.hostname or "",
            port=url.port or (443 if url.scheme == "https" else 80),
            host_header=host_header(settings),
            tls=upstream_tls(settings),
            server_name=settings.server_name or url.hostname or "",
        )

    async def open(self, factory: Callable[[], P]) -> P:
        """Connect, and return the protocol that `factory` made for the connection.

        A certificate that is not trusted may be one that was replaced a moment ago, and so may the one that
        was shown: if the files have changed, it is tried again with what they hold now.
        """
        if self.tls is None:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(factory, self.host, self.port)
            return connection
        try:
            return await self._open_tls(factory, self.tls.current)
        except ssl.SSLError:
            if not await self.tls.refresh():
                raise
        return await self._open_tls(factory, self.tls.current)

    async def _open_tls(self, factory: Callable[[], P], context: ssl.SSLContext) -> P:
        loop = asyncio.get_running_loop()
        shaken: asyncio.Future[Exception | None] = loop.create_future()

        def done(failure: Exception | None) -> None:
            if not shaken.done():
                shaken.set_result(failure)

        connection = factory()
        _, layer = await loop.create_connection(
            lambda: TlsLayer(context, connection, server_hostname=self.server_name, done=done),
            self.host,
            self.port,
        )
        try:
            failure = await shaken
        except asyncio.CancelledError:
            layer.abandon()
            raise
        if failure is not None:
            raise failure
        return connection


@dataclass(frozen=True, slots=True)
class UnixTarget:
    """The application on this machine."""

    path: Path
    host_header: None = None

    @property
    def name(self) -> str:
        return str(self.path)

    async def open(self, factory: Callable[[], P]) -> P:
        """Connect, and return the protocol that `factory` made for the connection."""
        _, connection = await asyncio.get_running_loop().create_unix_connection(factory, str(self.path))
        return connection


Target = TcpTarget | UnixTarget
