"""The address of upstream and its `Host`, for the edge and the application alike."""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from rerank_proxy.settings import UpstreamSettings

_PRIVATE_DOMAINS: Final = frozenset(
    {"localhost", "local", "internal", "svc", "lan", "home", "intranet", "corp", "private", "test"}
)


def host_header(settings: UpstreamSettings) -> bytes | None:
    """Return what `Host` becomes on the way to upstream; None keeps the client's.

    Elasticsearch's same-origin test compares `Origin` with the client's `Host`; virtual hosting, as hosted
    clusters have it, needs the name of the URL.
    """
    url = urlsplit(settings.url)
    host = url.hostname or ""
    hosted = url.scheme == "https" and _is_public_name(host)
    if settings.host_header == "client" or (settings.host_header == "auto" and not hosted):
        return None
    return own_host(settings)


def own_host(settings: UpstreamSettings) -> bytes:
    """Return the `Host` of upstream's own URL."""
    url = urlsplit(settings.url)
    host = url.hostname or ""
    name = b"[%b]" % host.encode() if ":" in host else host.encode("idna")
    return name if url.port is None else b"%b:%d" % (name, url.port)


def _is_public_name(host: str) -> bool:
    """Return whether a name has dots and is in no domain that is private by custom, such as `….svc`."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." in host and host.rstrip(".").rpartition(".")[2] not in _PRIVATE_DOMAINS
    return False
