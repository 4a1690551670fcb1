"""Where connections lead to: a node of upstream over TCP, or the application over its UNIX socket."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from rerank_proxy.http.connection_faults import ConnectionFault
from rerank_proxy.settings import UpstreamSettings
from rerank_proxy.upstream.address import host_header, is_address, own_host
from rerank_proxy.upstream.tls import tls_context

P = TypeVar("P", bound=asyncio.Protocol)


@dataclass(frozen=True, slots=True)
class TcpTarget:
    """A node of upstream.

    Attributes:
        name: What messages call it: its URL, and its address where the name of the URL has several.
        host: The name or address that is connected to.
        host_name: The host of the URL, which a certificate has to be for.
        host_header: What `Host` becomes on the way there; None keeps the client's.
        own_host: The `Host` of its own URL.
        tls: None for plain HTTP.
    """

    name: str
    host: str
    port: int
    host_name: str
    host_header: bytes | None
    own_host: bytes
    tls: ssl.SSLContext | None

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
        """Connect, and return the protocol that `factory` made for the connection."""
        loop = asyncio.get_running_loop()
        name = self.host_name if self.tls else None
        _, connection = await loop.create_connection(
            factory, self.host, self.port, ssl=self.tls, server_hostname=name
        )
        return connection


def node_targets(settings: UpstreamSettings) -> tuple[TcpTarget, ...]:
    """Return a target for each node in the settings.

    Raises:
        InvalidSettingsError: The certificate authorities cannot be read.
    """
    tls = tls_context(settings)
    return tuple(_target(url, settings, tls) for url in settings.node_urls)


def _target(url: str, settings: UpstreamSettings, tls: ssl.SSLContext | None) -> TcpTarget:
    parts = urlsplit(url)
    host = parts.hostname or ""
    return TcpTarget(
        name=url,
        host=host,
        port=parts.port or (443 if parts.scheme == "https" else 80),
        host_name=host,
        host_header=host_header(url, settings),
        own_host=own_host(url),
        tls=tls,
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
