"""The header fields that do not go along with a message (RFC 9110 §7.6.1), and by which of three rules.

The edge sends on the same message: its bytes, and so its framing, stay as they came. The application makes
new messages out of what it got: inner searches of a caller's request, its own answer of upstream's. Fields
that `Connection` lists are dropped by both.
"""

from enum import Enum
from typing import Final

from rerank_proxy.http import handover


class Rule(Enum):
    """Who drops a field."""

    CONNECTION = "of one connection: dropped by the edge and by the application"
    REQUEST = "of the proxy's own, of a request: dropped by the edge before upstream, and by the application"
    MESSAGE = "of one message, its framing, its coding, or the answer to it: dropped by the application alone"


FIELDS: Final = {
    "connection": Rule.CONNECTION,
    "keep-alive": Rule.CONNECTION,
    "proxy-connection": Rule.CONNECTION,
    "proxy-authorization": Rule.CONNECTION,
    "proxy-authenticate": Rule.CONNECTION,
    "te": Rule.CONNECTION,
    "upgrade": Rule.CONNECTION,
    "http2-settings": Rule.CONNECTION,
    "trailer": Rule.MESSAGE,
    "transfer-encoding": Rule.MESSAGE,
    "content-length": Rule.MESSAGE,
    "content-encoding": Rule.MESSAGE,
    "accept-encoding": Rule.MESSAGE,
    "expect": Rule.MESSAGE,
    "x-rerank": Rule.MESSAGE,
    "x-rerank-search": Rule.MESSAGE,
    handover.RECORD: Rule.REQUEST,
    handover.HEADER: Rule.REQUEST,
    handover.REQUEST_ID: Rule.REQUEST,
    handover.TIMES: Rule.REQUEST,
    handover.TRACE: Rule.REQUEST,
    handover.REASON: Rule.REQUEST,
}
"""By name, in lower case. `X-Rerank` and `X-Rerank-Search` would be those of a proxy behind this one: an
answer of the application's has its own.
"""

OF_THE_CONNECTION: Final = tuple(name for name, rule in FIELDS.items() if rule is Rule.CONNECTION)
