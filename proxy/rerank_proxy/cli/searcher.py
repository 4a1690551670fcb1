"""The client of the commands that search through a running proxy."""

from pathlib import Path

from rerank_proxy.cli.credentials import authorization, tls_context
from rerank_proxy.cli.options import load_settings
from rerank_proxy.relevance.searching import Searcher


def searcher_of(
    *,
    config: Path | None,
    secrets_dir: Path | None,
    url: str | None,
    user: str | None,
    password_file: Path | None,
    api_key_file: Path | None,
    ca_certs: Path | None,
    concurrency: int = 2,
    timeout_s: float = 120.0,
    patience_s: float = 300.0,
) -> Searcher:
    """Make a client of the proxy at an address, or where it listens according to the settings.

    Args:
        concurrency, timeout_s, patience_s: As of a `Searcher`.

    Raises:
        CommandError: The credentials or the certificates cannot be used.
    """
    from rerank_proxy.cli.proxy_client import url_of

    if url is None:
        settings = load_settings(config=config, secrets_dir=secrets_dir)
        url = url_of(settings.listen, https=settings.tls.cert is not None)
    credentials = authorization(user, password_file, api_key_file)
    tls = tls_context(ca_certs) if url.startswith("https:") else None
    return Searcher(
        url, credentials, tls, concurrency=concurrency, timeout_s=timeout_s, patience_s=patience_s
    )
