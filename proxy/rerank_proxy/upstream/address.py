"""The address of upstream, for the edge and the application alike: its `Host` and its certificate."""

import ipaddress
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from rerank_proxy.settings import InvalidSettingsError, UpstreamSettings

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


def tls_context(settings: UpstreamSettings) -> ssl.SSLContext | None:
    """Return how upstream's certificate is checked; None for plain HTTP.

    Raises:
        InvalidSettingsError: The certificate authorities cannot be read, whether they are needed or not.
    """
    if not settings.url.startswith("https:"):
        if settings.ca_certs is not None:
            _trusting(settings.ca_certs)
        return None
    context = _trusting(settings.ca_certs)
    if not settings.verify_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def _trusting(ca_certs: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_certs)
    except ssl.SSLError:
        problem = "holds no certificates in PEM"
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    raise InvalidSettingsError(f"[upstream.ca_certs]: {ca_certs}: {problem}")
