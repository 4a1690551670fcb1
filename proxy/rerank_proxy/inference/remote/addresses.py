"""The servers that remote endpoints may call: hosts of an allow-list, at public addresses.

Names are checked when an endpoint is created and again at each call. Addresses are checked when a connection
is opened, on those that it is opened to, so that a name that resolves differently the next time gains
nothing.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver
from yarl import URL

from rerank_proxy.inference.remote.special_addresses import is_public, literal
from rerank_proxy.settings import RemoteSettings

VENDORS: Final = "vendors"
_ALLOWED_HOSTS: Final = "remote.allowed_hosts"
_ALLOW_PRIVATE: Final = "remote.allow_private_addresses"
_MAX_HOST: Final = 253
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NEVER_IN_A_URL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
"""Characters that readers of URLs drop, take for slashes, or end at."""


class HostNotAllowedError(Exception):
    """A host may not be called. The message says why, and which setting would allow it."""


class PrivateAddressError(OSError):
    """A name does not resolve to a public address."""

    def __init__(self, host: str) -> None:
        super().__init__(None, "not a public address")
        self._host = host

    def told(self, shown: str) -> str:
        """Return the message, which names the host only where people are shown it anyway."""
        named = f"[{self._host}]" if self._host in shown.lower() else "its host"
        return f"{named} does not resolve to a public address; see [{_ALLOW_PRIVATE}]"


class HostRules:
    """The allow-list of the settings."""

    def __init__(self, settings: RemoteSettings) -> None:
        self._allowed = tuple(host.lower() for host in settings.allowed_hosts)
        self._private = settings.allow_private_addresses
        self._gateways = {service: _host(URL(url)) for service, url in settings.base_urls.items()}

    def check(self, url: str, service: str, vendor_hosts: Sequence[str], shown: str | None = None) -> None:
        """Refuse a URL that may not be called.

        Args:
            vendor_hosts: The hosts of the service's vendor, `*.example.com` for all below it.
            shown: What people are shown of the URL, if not all; a host that is not in it is not named.

        Raises:
            HostNotAllowedError: It may not be called.
        """
        parts = parsed(url)
        host = _host(parts)
        if parts.scheme not in ("http", "https") or not host:
            raise HostNotAllowedError("expected http://HOST… or https://HOST…")
        if parts.user is not None or parts.password is not None:
            raise HostNotAllowedError("a URL must not hold credentials")
        named = "its host" if shown is not None and host not in shown.lower() else f"host [{host}]"
        address = _address(host)
        if address is None and (len(host) > _MAX_HOST or not _NAME.fullmatch(host)):
            raise HostNotAllowedError(f"{named} is not the name of a host")
        if not any(_matches(host, each) for each in self._patterns(service, vendor_hosts)):
            raise HostNotAllowedError(f"{named} is not in [{_ALLOWED_HOSTS}]")
        if address is not None and not self._private and not is_public(address):
            raise HostNotAllowedError(f"{named} is not a public address; see [{_ALLOW_PRIVATE}]")
        if parts.raw_fragment:
            raise HostNotAllowedError("a URL that is called must not have a fragment")

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
        public = [each for each in found if _is_public(each["host"])]
        if not public:
            raise PrivateAddressError(host)
        return public

    async def close(self) -> None:
        await self._inner.close()


def parsed(url: str) -> URL:
    """Return a URL as the client that calls it reads it: two readings of one text would be a way around the
    list.

    Raises:
        HostNotAllowedError: It is not a URL.
    """
    if not _NEVER_IN_A_URL.search(url):
        with suppress(ValueError):
            return URL(url)
    # Out here, where the error that repeats the URL is not its context.
    raise HostNotAllowedError("this is not a URL")


def _host(url: URL) -> str:
    """Return the host in lower case, without the dot that may end a whole name."""
    return (url.raw_host or "").removesuffix(".").lower()


def _matches(host: str, pattern: str) -> bool:
    if pattern == "*":
        return True
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return literal(host)
    except ValueError:
        raise HostNotAllowedError("its host is neither a name nor an address in its usual form") from None


def _is_public(resolved: str) -> bool:
    try:
        return is_public(ipaddress.ip_address(resolved))
    except ValueError:
        return False
