"""Where connections lead to: upstream over TCP, or the application over its UNIX socket."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from rerank_proxy.http.connection_faults import ConnectionFault
from rerank_proxy.settings import UpstreamSettings
from rerank_proxy.upstream.address import host_header
from rerank_proxy.upstream.tls import tls_context

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
    """

    name: str
    host: str
    port: int
    host_header: bytes | None
    tls: ssl.SSLContext | None

    @classmethod
    def from_settings(cls, settings: UpstreamSettings) -> "TcpTarget":
        """Return the target of `upstream.url`.

        Raises:
            InvalidSettingsError: The certificate authorities cannot be read.
        """
        url = urlsplit(settings.url)
        return cls(
            name=settings.url,
            host=url.hostname or "",
            port=url.port or (443 if url.scheme == "https" else 80),
            host_header=host_header(settings),
            tls=tls_context(settings),
        )

    async def open(self, factory: Callable[[], P]) -> P:
        """Connect, and return the protocol that `factory` made for the connection."""
        loop = asyncio.get_running_loop()
        name = self.host if self.tls else None
        _, connection = await loop.create_connection(
            factory, self.host, self.port, ssl=self.tls, server_hostname=name
        )
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
