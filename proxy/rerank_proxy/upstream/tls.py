"""How the certificate of upstream is checked, and which one is shown to it."""

import ssl
from pathlib import Path

from rerank_proxy.settings import InvalidSettingsError, UpstreamSettings
from rerank_proxy.tls.listening import prepare
from rerank_proxy.tls.owned import Contents, Made, OwnedContext


def upstream_tls(settings: UpstreamSettings, *, quiet: bool = False) -> OwnedContext | None:
    """Return the context of connections to upstream; None for plain HTTP.

    Args:
        quiet: Changes of the files are told by another process.

    Raises:
        InvalidSettingsError: The files are unfit, whether they are needed or not.
    """
    secure = settings.node_urls[0].startswith("https:")
    if settings.client_cert is None and settings.client_key is not None:
        raise InvalidSettingsError(
            "[upstream.client_key]: is of no use without a certificate: name one with [upstream.client_cert]"
        )
    if settings.ca_fingerprint is not None and not secure:
        raise InvalidSettingsError(
            "[upstream.ca_fingerprint]: there is no certificate to check without TLS: begin [upstream.url] "
            "with https://"
        )
    if not secure and settings.ca_certs is None and settings.client_cert is None:
        return None
    owned = _owned(settings, quiet=quiet)
    return owned if secure else None


def _owned(settings: UpstreamSettings, *, quiet: bool) -> OwnedContext:
    # Imported here: a proxy without TLS does without what reads certificates.
    from rerank_proxy.tls.pem import Identity, NamedFile, identity, trust
    from rerank_proxy.tls.pinning import pin

    def named(name: str, path: Path | None) -> NamedFile | None:
        return None if path is None else NamedFile(f"upstream.{name}", path)

    trusted, cert = named("ca_certs", settings.ca_certs), named("client_cert", settings.client_cert)
    shown: Identity | None = None
    if cert is not None:
        key = named("client_key", settings.client_key)
        shown = identity(cert, key, settings.client_key_password, "upstream.client_key_password")

    def make(contents: Contents) -> Made:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if trusted is not None:
            trust(context, trusted, contents[trusted.setting])
            # What is named is trusted, be it an authority below another one or the server's own certificate.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if not settings.verify_certs or (settings.ca_fingerprint is not None and trusted is None):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif trusted is None:
            context.load_default_certs()
        prepare(context, settings.min_tls_version)
        if settings.ca_fingerprint is not None:
            pin(context, settings.ca_fingerprint)
        certificate = None
        if shown is not None:
            certificate = shown.load(context, contents[shown.cert.setting], contents[shown.key.setting])
        return Made(context, certificate)

    files = [*([] if trusted is None else [trusted]), *(() if shown is None else shown.files)]
    return OwnedContext(files, make, quiet=quiet)
