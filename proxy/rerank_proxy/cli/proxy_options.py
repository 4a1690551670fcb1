"""The options for which running proxy a command calls, and as whom."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import click

from rerank_proxy.cli.credentials import (
    PASSWORD_VARIABLE,
    authorization,
    credential_options,
    tls_context,
)
from rerank_proxy.cli.options import CommandError, load_settings
from rerank_proxy.settings import Address


def proxy_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add options for the address of the proxy, for credentials, and for whom to trust."""
    return click.option(
        "--url", metavar="URL", help="The proxy's address. [default: that of `listen` in the settings]"
    )(credential_options(command))


@dataclass(frozen=True, slots=True)
class Access:
    """How a proxy is called.

    Attributes:
        authorization: The value of the `Authorization` header of requests.
        tls: What verifies its certificate, for https.
    """

    url: str
    authorization: str | None
    tls: ssl.SSLContext | None


@dataclass(frozen=True, slots=True)
class ProxyOptions:
    """What `proxy_options` and `CONFIG_OPTIONS` have been given."""

    config: Path | None
    secrets_dir: Path | None
    url: str | None
    user: str | None
    password_file: Path | None
    api_key_file: Path | None
    ca_certs: Path | None

    @classmethod
    def taken(cls, options: dict[str, Any]) -> Self:
        """Take them out of all options of a command."""
        return cls(**{each.name: options.pop(each.name) for each in fields(cls)})

    def access(self) -> Access:
        """Return how the proxy at the address is called, or the one that listens according to the settings.

        Raises:
            CommandError: The address, the credentials or the certificates cannot be used.
        """
        if self.url is not None:
            url = _checked(self.url).rstrip("/")
        else:
            settings = load_settings(config=self.config, secrets_dir=self.secrets_dir)
            url = _url_of(settings.listen, https=settings.tls.cert is not None)
        credentials = authorization(self.user, self.password_file, self.api_key_file)
        return Access(url, credentials, tls_context(self.ca_certs) if url.startswith("https:") else None)


def _checked(url: str) -> str:
    """Return an address without credentials in it: reports and files of answers name where they are from.

    Raises:
        CommandError: There are some, or it is none.
    """
    if "@" in url:
        raise CommandError(
            "--url: every user of this machine can see a password on a command line: give the address alone, "
            f"and --user NAME with --password-file or {PASSWORD_VARIABLE}"
        )
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or "?" in url or "#" in url:
        raise CommandError(f"--url {url}: is not an address: expected http://HOST:PORT")
    return url


def _url_of(listen: Address, *, https: bool) -> str:
    """Return the URL of a proxy that listens on an address."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.host, listen.host)
    return f"{'https' if https else 'http'}://{Address(host, listen.port)}"
