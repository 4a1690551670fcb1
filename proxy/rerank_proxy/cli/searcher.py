"""The client of the commands that search through a running proxy."""

from rerank_proxy.cli.proxy_options import ProxyOptions
from rerank_proxy.relevance.client.searching import Searcher


def searcher_of(
    proxy: ProxyOptions, *, concurrency: int = 2, timeout_s: float = 120.0, patience_s: float = 300.0
) -> Searcher:
    """Make a client of a proxy.

    Args:
        concurrency, timeout_s, patience_s: As of a `Searcher`.

    Raises:
        CommandError: The credentials or the certificates cannot be used.
    """
    at = proxy.access()
    return Searcher(
        at.url,
        at.authorization,
        at.tls,
        concurrency=concurrency,
        timeout_s=timeout_s,
        patience_s=patience_s,
    )
