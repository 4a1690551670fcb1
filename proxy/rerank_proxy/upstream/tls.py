"""How the certificate of upstream is checked."""

import ssl
from pathlib import Path

from rerank_proxy.settings import InvalidSettingsError, UpstreamSettings


def tls_context(settings: UpstreamSettings) -> ssl.SSLContext | None:
    """Return how upstream's certificate is checked; None for plain HTTP.

    Raises:
        InvalidSettingsError: The certificate authorities cannot be read, whether they are needed or not.
    """
    if not settings.node_urls[0].startswith("https:"):
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
