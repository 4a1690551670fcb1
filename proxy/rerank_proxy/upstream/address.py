"""The addresses of upstream's nodes and their `Host`, for the edge and the application alike."""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from rerank_proxy.settings import UpstreamSettings

_PRIVATE_DOMAINS: Final = frozenset(
    {"localhost", "local", "internal", "svc", "lan", "home", "intranet", "corp", "private", "test"}
)


def host_header(url: str, settings: UpstreamSettings) -> bytes | None:
    """Return what `Host` becomes on the way to a node; None keeps the client's.

    Elasticsearch's same-origin test compares `Origin` with the client's `Host`; virtual hosting, as hosted
    clusters have it, needs the name of the URL.
    """
    if settings.host_header == "client" or (settings.host_header == "auto" and not _hosted(url, settings)):
        return None
    return own_host(url)


def own_host(url: str) -> bytes:
    """Return the `Host` of a node's own URL."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    name = b"[%b]" % host.encode() if ":" in host else host.encode("idna")
    return name if parts.port is None else b"%b:%d" % (name, parts.port)


def is_address(host: str) -> bool:
    """Return whether a host is an IP address, and not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _hosted(url: str, settings: UpstreamSettings) -> bool:
    """Return whether a URL leads to a hosted cluster: a Cloud ID's, or one with `https` and a public name."""
    parts = urlsplit(url)
    return settings.cloud_id is not None or (
        parts.scheme == "https" and _is_public_name(parts.hostname or "")
    )


def _is_public_name(host: str) -> bool:
    """Return whether a name has dots and is in no domain that is private by custom, such as `….svc`."""
    if is_address(host):
        return False
    return "." in host and host.rstrip(".").rpartition(".")[2] not in _PRIVATE_DOMAINS
