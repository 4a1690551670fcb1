"""Where connections lead to: a node of upstream over TCP, or the application over its UNIX socket."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from rerank_proxy.http.connection_faults import ConnectionFault, refusal_after_handshake
from rerank_proxy.http.tls_layer import TlsLayer
from rerank_proxy.settings import UpstreamSettings
from rerank_proxy.tls.owned import OwnedContext
from rerank_proxy.upstream.address import host_header, is_address, own_host
from rerank_proxy.upstream.tls import upstream_tls

P = TypeVar("P", bound=asyncio.Protocol)


@dataclass(frozen=True, slots=True)
class TcpTarget:
    """A node of upstream.

    Attributes:
        name: What messages call it: its URL, and its address where the name of the URL has several.
        host: The name or address that is connected to.
        host_header: What `Host` becomes on the way there; None keeps the client's.
        own_host: The `Host` of its own URL.
        tls: None for plain HTTP.
        server_name: What is asked for, and looked for in the certificate.
    """

    name: str
    host: str
    port: int
    host_header: bytes | None
    own_host: bytes
    tls: OwnedContext | None
    server_name: str

    @property
    def address(self) -> str:
        """Return `HOST:PORT`, by which metrics and `/ready` tell nodes apart."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def may_have_several_addresses(self) -> bool:
        return not is_address(self.host)

    def at(self, address: str) -> "TcpTarget":
        """Return the node at one of the addresses of this one's name."""
        return replace(self, name=f"{self.name} ({address})", host=address)

    async def open(self, factory: Callable[[], P]) -> P:
        """Connect, and return the protocol that `factory` made for the connection.

        A certificate that is not trusted may be one that was replaced a moment ago, and so may the one that
        was shown: if the files have changed, it is tried again with what they hold now.
        """
        if self.tls is None:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(factory, self.host, self.port)
            return connection
        context = await self.tls.settled()
        try:
            return await self._open_tls(factory, context)
        except ssl.SSLError:
            if not await self.tls.differs_from(context):
                raise
        return await self._open_tls(factory, self.tls.current)

    def lost(self, error: Exception | None) -> None:
        """Take note of how a connection ended: the certificate that was shown may have been refused."""
        if self.tls is not None and refusal_after_handshake(error) is not None:
            self.tls.doubt()

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


def node_targets(settings: UpstreamSettings, *, quiet: bool = False) -> tuple[TcpTarget, ...]:
    """Return a target for each node in the settings.

    Args:
        quiet: Changes of the files for TLS are told by another process.

    Raises:
        InvalidSettingsError: The files for TLS are unfit.
    """
    tls = upstream_tls(settings, quiet=quiet)
    return tuple(_target(url, settings, tls) for url in settings.node_urls)


def _target(url: str, settings: UpstreamSettings, tls: OwnedContext | None) -> TcpTarget:
    parts = urlsplit(url)
    host = parts.hostname or ""
    return TcpTarget(
        name=url,
        host=host,
        port=parts.port or (443 if parts.scheme == "https" else 80),
        host_header=host_header(url, settings),
        own_host=own_host(url),
        tls=tls,
        # As all clients have it: names in certificates do not end with the dot of the root.
        server_name=(settings.server_name or host).removesuffix("."),
    )


@dataclass(frozen=True, slots=True)
class UnixTarget:
    """The application on this machine."""

    path: Path
    host_header: None = None

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def address(self) -> str:
        return str(self.path)

    def lost(self, error: Exception | None) -> None:
        """Do nothing: there is no TLS."""

    async def open(self, factory: Callable[[], P]) -> P:
        """Connect, and return the protocol that `factory` made for the connection."""
        _, connection = await asyncio.get_running_loop().create_unix_connection(factory, str(self.path))
        return connection


Target = TcpTarget | UnixTarget


class TargetError(Exception):
    """A target cannot be connected to.

    Attributes:
        others: Further targets that could not be connected to either.
    """

    def __init__(self, fault: ConnectionFault, target: Target, others: tuple[Target, ...] = ()) -> None:
        super().__init__(fault.words)
        self.fault = fault
        self.target = target
        self.others = others
