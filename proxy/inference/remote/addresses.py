"""Whom remote endpoints may call: an allow-list of hosts, and no addresses that are not public.

Names are checked when an endpoint is made and again at each call; addresses when a connection is opened, on
the very ones that it is opened to, so that a name that resolves differently the next time gains nothing.
"""

import ipaddress
import socket
from collections.abc import Iterable, Sequence
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver
from yarl import URL

from proxy.settings import RemoteSettings

VENDORS: Final = "vendors"
_ALLOWED_HOSTS: Final = "remote.allowed_hosts"
_ALLOW_PRIVATE: Final = "remote.allow_private_addresses"
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class HostNotAllowedError(Exception):
    """The message says why, and which setting would allow it."""


class PrivateAddressError(OSError):
    """A name resolves to no public address."""


class HostRules:
    """The allow-list of the settings."""

    def __init__(self, settings: RemoteSettings) -> None:
        self._allowed = tuple(host.lower() for host in settings.allowed_hosts)
        self._private = settings.allow_private_addresses
        self._gateways = {service: _host(URL(url)) for service, url in settings.base_urls.items()}

    def check(self, url: str, service: str, vendor_hosts: Sequence[str]) -> None:
        """Args:
            url: What is to be called.
            vendor_hosts: The hosts of the service's own vendor, `*.example.com` for all below it.

        Raises:
            HostNotAllowedError: It may not be called.
        """
        parts = _parsed(url)
        host = _host(parts)
        if parts.scheme not in ("http", "https") or not host:
            raise HostNotAllowedError("expected http://HOST… or https://HOST…")
        if parts.user or parts.password:
            raise HostNotAllowedError("a URL must not hold credentials")
        if not any(_matches(host, each) for each in self._patterns(service, vendor_hosts)):
            raise HostNotAllowedError(f"host [{host}] is not in [{_ALLOWED_HOSTS}]")
        address = _literal(host)
        if address is not None and not self._private and not is_public(address):
            raise HostNotAllowedError(f"[{host}] is not a public address; see [{_ALLOW_PRIVATE}]")

    def _patterns(self, service: str, vendor_hosts: Sequence[str]) -> Iterable[str]:
        if service in self._gateways:
            yield self._gateways[service]
        for each in self._allowed:
            yield from vendor_hosts if each == VENDORS else (each,)


class GuardedResolver(AbstractResolver):
    """Resolves names, and withholds addresses that are not public unless `allow_private`."""

    def __init__(self, *, allow_private: bool, inner: AbstractResolver | None = None) -> None:
        self._allow_private = allow_private
        self._inner = inner if inner is not None else DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if self._allow_private:
            return found
        public = [each for each in found if is_public(ipaddress.ip_address(each["host"].partition("%")[0]))]
        if not public:
            raise PrivateAddressError(
                None, f"[{host}] does not resolve to a public address; see [{_ALLOW_PRIVATE}]"
            )
        return public

    async def close(self) -> None:
        await self._inner.close()


def is_public(address: IpAddress) -> bool:
    """Whether it is an address of the public internet, also in what it stands for."""
    if isinstance(address, ipaddress.IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if address in _NAT64:
            embedded = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if embedded is not None:
            return is_public(embedded)
    return address.is_global and not address.is_multicast


def _parsed(url: str) -> URL:
    """As the client that calls it reads it: two readings of one text would be a way around the list."""
    try:
        return URL(url)
    except ValueError:
        raise HostNotAllowedError("this is not a URL") from None


def _host(url: URL) -> str:
    return (url.raw_host or "").rstrip(".").lower()


def _matches(host: str, pattern: str) -> bool:
    if pattern == "*":
        return True
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def _literal(host: str) -> IpAddress | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
