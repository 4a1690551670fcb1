"""The header fields that do not go along with a message (RFC 9110 §7.6.1), and by which of two rules.

The edge sends on the same message: its bytes, and so its framing, stay as they came. The application makes
new messages out of what it got: inner searches of a caller's request, its own answer of upstream's. Fields
that `Connection` lists go along by neither rule.
"""

from enum import Enum
from typing import Final

from rerank_proxy.http import handover


class Rule(Enum):
    """Who drops a field."""

    CONNECTION = "of one connection: dropped by the edge and by the application"
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
    "x-rerank-record": Rule.MESSAGE,
    handover.HEADER: Rule.MESSAGE,
    handover.REQUEST_ID: Rule.MESSAGE,
    handover.TIMES: Rule.MESSAGE,
    handover.TRACE: Rule.MESSAGE,
    handover.REASON: Rule.MESSAGE,
}
"""By name, in lower case."""

OF_THE_CONNECTION: Final = tuple(name for name, rule in FIELDS.items() if rule is Rule.CONNECTION)
