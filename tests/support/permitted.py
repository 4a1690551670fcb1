"""What a client of the proxy sees in another way than a client of Elasticsearch, and why that is so.

`tests/live/test_byte_fidelity.py` sends the requests of `GROUPS` to both and holds them to these outcomes;
all others of its requests have to have equal ones. docs/compatibility.md is made of this
(`tests.clients.page`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

Outcome = str
"""Statuses, interim ones included, and what becomes of the connection: `200 open`, `400 closed`.

`closed` alone is an end without an answer, and `400` alone leaves a connection open on which Elasticsearch
may read nothing any more: whether it does cannot be asked without waiting.
"""


@dataclass(frozen=True)
class Difference:
    """How a request ends.

    Attributes:
        direct: By major version of Elasticsearch that answers otherwise than the proxy: what it does.
        proxied: What the proxy does.
    """

    direct: Mapping[int, Outcome]
    proxied: Outcome


@dataclass(frozen=True)
class Group:
    """Differences with one reason.

    Attributes:
        differences: By the name of the case.
    """

    title: str
    reason: str
    differences: Mapping[str, Difference]


@dataclass(frozen=True)
class ByDesign:
    """A difference that does not depend on the form of a request.

    Attributes:
        what, direct, proxied, why: Cells of the page.
        test: The test that shows it.
    """

    what: str
    direct: str
    proxied: str
    why: str
    test: str


def _both(direct: Outcome, proxied: Outcome) -> Difference:
    return Difference({9: direct, 8: direct}, proxied)


_REFUSED: Final = _both("400", "400 closed")
_CORRUPT: Final = _both("closed", "400 open")

GROUPS: Final = (
    Group(
        "Requests that two servers may read differently",
        "Two readers of such a message may disagree about where it ends, which lets a second request be "
        "smuggled past one of them. The proxy refuses it and closes. Clients do not send such requests.",
        {
            "two hosts": _both("200 open", "400 closed"),
            "folded field": _both("200 open", "400 closed"),
            "two spaces in the request line": _both("200 open", "400 closed"),
            "content-length and chunks": _REFUSED,
            "two equal lengths": _REFUSED,
            "two lengths": _REFUSED,
            "a list of lengths": Difference({9: "closed", 8: "400"}, "400 closed"),
            "length with a sign": _REFUSED,
            "negative length": _REFUSED,
            "length in hexadecimal": Difference({9: "closed", 8: "400"}, "400 closed"),
            "gzip as transfer coding": _both("closed", "501 closed"),
            "bare line feeds": _both("400 closed", "400 closed"),
            "a bare line feed": _REFUSED,
            "space before the colon": _REFUSED,
            "no colon": _REFUSED,
            "NUL in a value": _REFUSED,
        },
    ),
    Group(
        "Other versions of HTTP",
        "What is not HTTP/1.0 or HTTP/1.1 is refused, in HTTP/1.1 and in other words.",
        {
            "protocol in small letters": _both("200 open", "400 closed"),
            "HTTP/1.2": _both("400 closed", "400 closed"),
            "HTTP/2.0": _both("400 closed", "400 closed"),
            "preface of HTTP/2": _both("400 closed", "400 closed"),
            "HTTP/0.9": _both("400 closed", "400 closed"),
        },
    ),
    Group(
        "HTTP/1.0",
        "Elasticsearch sends chunks and interim answers, which HTTP/1.0 does not have. The proxy sends "
        "neither, and ends the answer with the connection, which every client of HTTP/1.0 understands.",
        {
            "HTTP/1.0 that keeps the connection": _both("200 open", "200 closed"),
            "HTTP/1.0 search": _both("200 closed", "200 closed"),
            "HTTP/1.0 search that keeps the connection": _both("200 open", "200 closed"),
            "HTTP/1.0 that expects 100": Difference({9: "100 200 closed"}, "200 closed"),
        },
    ),
    Group(
        "Expectations",
        "A body that is there already needs no `100 Continue` (RFC 9110 §10.1.1). The proxy uses no "
        "connection again on which Elasticsearch may take a body that it refused for the next request, as "
        "version 8 does.",
        {
            "search whose body did not wait for 100": _both("100 200 open", "200 open"),
            "expects something else": _both("417 closed", "417 open"),
            "expects 100 for too much": Difference({8: "413 open"}, "413 closed"),
            "expects 100 for too much of a document": Difference({8: "413 open"}, "413 closed"),
            "too long": Difference({8: "413"}, "413 closed"),
        },
    ),
    Group(
        "Bodies that cannot be decoded",
        "Elasticsearch closes the connection. The proxy says what is wrong with the body.",
        {
            "gzip of another format": _CORRUPT,
            "gzip with a bad method": _CORRUPT,
            "gzip with reserved flags": _CORRUPT,
            "gzip corrupt in the middle": _CORRUPT,
            "gzip with a bad checksum": _CORRUPT,
            "gzip with a bad length": _CORRUPT,
            "gzip with much behind it": _CORRUPT,
            "gzip with zeros behind it": _CORRUPT,
            "deflate corrupt": _CORRUPT,
            "snappy of another format": _CORRUPT,
        },
    ),
    Group(
        "What ends a connection",
        "After a head that is too long Elasticsearch reads nothing more on its connection; the proxy takes "
        "another one, and the client's serves on. What comes after `CONNECT` is for a tunnel, and not read.",
        {
            "17,000 bytes of a field": _both("400", "400 open"),
            "CONNECT": _both("405 open", "405 closed"),
        },
    ),
)
PERMITTED: Final[Mapping[str, Difference]] = {
    name: difference for group in GROUPS for name, difference in group.differences.items()
}
"""By the name of the case."""

BY_DESIGN: Final = (
    ByDesign(
        "Answers to reranked searches",
        "",
        "also have the header `X-Rerank`",
        "It says what happened to the search, and what it took.",
        "tests/live/test_end_to_end.py::test_reference_search",
    ),
    ByDesign(
        "Addresses of nodes in `_nodes` and `_nodes/http`",
        "its own",
        "the proxy's (`edge.rewrite_node_addresses`)",
        "Clients that sniff would go past the proxy.",
        "tests/live/test_sniffing.py::test_only_the_addresses_differ",
    ),
    ByDesign(
        "Elasticsearch cannot be reached, or breaks off before it answers",
        "no connection, or one that ends",
        "502, and the connection stays",
        "The error says which address, what is wrong and what to do. Clients try again as before.",
        "tests/edge/test_faults.py::TestUpstreamFails::test_refused",
    ),
    ByDesign(
        "A request that reads, whose connection ended before a byte of an answer",
        "the client has to send it again",
        "is sent again, once",
        "A kept connection may have been closed just then. What may change something is never sent twice.",
        "tests/edge/test_pool.py::TestRetry::test_what_reads_is_sent_again_when_a_kept_connection_broke",
    ),
    ByDesign(
        "Request line and headers of more than 64 KiB (`edge.max_head`)",
        "400, as from 16 KiB on",
        "400 in its own words, closes",
        "Up to there it is Elasticsearch that refuses.",
        "tests/edge/test_messages.py::TestRefused::test_head_of_a_megabyte",
    ),
    ByDesign(
        "Status line and headers of an answer of more than 256 KiB",
        "sent as they are",
        "502",
        "They are held in memory. Clients take less.",
        "tests/edge/test_transparency.py::test_a_head_of_megabytes_is_upstreams_fault",
    ),
    ByDesign(
        "A head, or the next piece of a search's body, that does not come within 60 s",
        "waits",
        "408, closes",
        "Slow clients would hold memory and connections.",
        "tests/edge/test_faults.py::TestSlowClients::test_half_a_request_is_given_up",
    ),
    ByDesign(
        "Bodies of searches and inferences while others fill `edge.max_buffered`",
        "",
        "429 `es_rejected_execution_exception`",
        "Memory is bounded. All other bodies are streamed, and have no such limit.",
        "tests/edge/test_searches.py::TestLimits::test_of_all_together",
    ),
    ByDesign(
        "The proxy ends",
        "",
        "finishes what runs; answers say `connection: close`",
        "Clients connect to another replica, without an error.",
        "tests/edge/test_listening.py::TestDrain::test_answers_say_that_the_end_is_near_before_the_port_is_closed",
    ),
)
"""Beside the form of requests."""
