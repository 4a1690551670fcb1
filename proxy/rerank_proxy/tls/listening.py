"""The context of a listener: what it shows to clients, and which of their certificates it accepts."""

import ssl
from pathlib import Path
from typing import Final

from rerank_proxy.settings import InvalidSettingsError, ListenerTlsSettings
from rerank_proxy.tls.owned import Contents, Made, OwnedContext

VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def listener_tls(settings: ListenerTlsSettings, section: str, *, quiet: bool = False) -> OwnedContext | None:
    """Return the context of a listener; None for plain HTTP.

    Args:
        section: The key of the settings: `tls` or `admin.tls`.
        quiet: Changes of the files are told by another process.

    Raises:
        InvalidSettingsError: The files are unfit, or something is given without a certificate.
    """
    if settings.cert is None:
        for name in ("key", "key_password", "client_ca"):
            if getattr(settings, name) is not None:
                raise InvalidSettingsError(
                    f"[{section}.{name}]: is of no use without a certificate: name one with [{section}.cert]"
                )
        return None
    if settings.client_auth == "required" and settings.client_ca is None:
        raise InvalidSettingsError(
            f"[{section}.client_auth]: certificates of clients can be required only with those of their "
            f"authorities: name them with [{section}.client_ca]"
        )
    return _owned(settings, settings.cert, section, quiet=quiet)


def _owned(settings: ListenerTlsSettings, cert: Path, section: str, *, quiet: bool) -> OwnedContext:
    # Imported here: a proxy without TLS does without what reads certificates.
    from rerank_proxy.tls.pem import NamedFile, identity, trust

    def named(name: str, path: Path) -> NamedFile:
        return NamedFile(f"{section}.{name}", path)

    key = None if settings.key is None else named("key", settings.key)
    shown = identity(named("cert", cert), key, settings.key_password, f"{section}.key_password")
    trusted = None if settings.client_ca is None else named("client_ca", settings.client_ca)

    def make(contents: Contents) -> Made:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        prepare(context, settings.min_version)
        certificate = shown.load(context, contents[shown.cert.setting], contents[shown.key.setting])
        if trusted is not None:
            trust(context, trusted, contents[trusted.setting])
            # What is named is trusted, be it an authority below another one, in every version of Python.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            required = settings.client_auth == "required"
            context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        return Made(context, certificate)

    return OwnedContext([*shown.files, *([] if trusted is None else [trusted])], make, quiet=quiet)


def prepare(context: ssl.SSLContext, min_version: str) -> None:
    """Set what holds for every context of the proxy."""
    context.minimum_version = VERSIONS[min_version]
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION
