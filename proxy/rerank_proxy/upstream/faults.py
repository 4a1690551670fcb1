"""Messages about an Elasticsearch that cannot be reached or breaks off, with what to do about it.

The edge, the application and the registry of endpoints say the same.
"""

from collections.abc import Sequence
from typing import Final

from rerank_proxy.errors import ElasticsearchError, error
from rerank_proxy.http.connection_faults import ConnectionFault, Kind

_ADVICE: Final = {
    Kind.AUTHORITY: "name the authority that signed it with the setting [upstream.ca_certs]",
    Kind.HOST: "give [upstream.url], or [upstream.server_name], a host name that the certificate is for",
    Kind.TIME: "have it renewed, or put the clock of this machine right",
    Kind.UNFIT: "have another one issued: for servers, with RSA keys of 2048 bits or more, and with SHA-256",
    Kind.FINGERPRINT: "give [upstream.ca_fingerprint] that of its authority, if this is the right server",
    Kind.CLIENT: "name one that it accepts with [upstream.client_cert] and [upstream.client_key]",
    Kind.VERSION: "have it speak TLS 1.2 or newer, or lower [upstream.min_tls_version]",
    Kind.NO_TLS: "when it is meant to be plain HTTP, begin [upstream.url] with http://",
    Kind.OTHER: "check that it is running and that the setting [upstream.url] is right",
}


CLOSED: Final = "closed the connection before it answered"
"""What an Elasticsearch did that was reached and sent nothing."""
_MAX_OTHERS: Final = 5


def unreachable_text(url: str, fault: ConnectionFault, others: Sequence[str] = ()) -> str:
    """Return one sentence: which address, what is wrong, what to do.

    Args:
        others: Further nodes that cannot be connected to.
    """
    nor = "".join(f", nor at [{each}]" for each in others[:_MAX_OTHERS])
    if len(others) > _MAX_OTHERS:
        nor += f", nor at {len(others) - _MAX_OTHERS} more nodes"
    return f"cannot connect to Elasticsearch at [{url}]: {fault.words}{nor}; {_ADVICE[fault.kind]}"


def silent_text(url: str, what: str) -> str:
    """Return one sentence about an Elasticsearch that hangs."""
    return f"Elasticsearch at [{url}] {what}; check its log, and that its machine runs"


def disconnected_text(url: str, what: str, *, spoke_http: bool) -> str:
    """Return one sentence about an Elasticsearch that was reached.

    Args:
        what: What it did in place of answering.
        spoke_http: A head of an answer came, so HTTP without TLS is what it expects.
    """
    between = "check its log, and what stands between it and the proxy"
    if url.startswith("http:") and not spoke_http:
        between += "; when it expects TLS, begin [upstream.url] with https://"
    elif what == CLOSED:
        # With TLS 1.3 a refusal of the client's certificate may be lost with the connection.
        between += "; when it requires a client certificate, name one with [upstream.client_cert]"
    return f"Elasticsearch at [{url}] {what}; {between}"


def unreachable(url: str, fault: ConnectionFault, others: Sequence[str] = ()) -> ElasticsearchError:
    return error(502, "connect_transport_exception", unreachable_text(url, fault, others))


def disconnected(url: str, what: str, *, spoke_http: bool) -> ElasticsearchError:
    reason = disconnected_text(url, what, spoke_http=spoke_http)
    return error(502, "node_disconnected_exception", reason)
