"""The clients whose programs are run, the steps of those programs, and what each has to report.

docs/compatibility.md is made of this (`tests.clients.page`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Mode = Literal["direct", "proxy"]

STEPS: Final[Mapping[str, str]] = {
    "info": "`GET /`, and the client's check that it speaks to Elasticsearch",
    "index": "create an index, index a document",
    "bulk": "`_bulk`, compressed with gzip",
    "get": "get a document",
    "search": "search by the typed API",
    "reranked search": "search with a `text_similarity_reranker` by the typed API",
    "msearch": "`_msearch`, one of its searches failing",
    "reranked msearch": "the same, reranked",
    "scroll": "scroll through all documents, and clear the scroll",
    "point in time": "a point in time with `search_after`, from opening to closing",
    "aggregation": "aggregations",
    "async search": "reranked asynchronous search: submit, status, get, delete, get again",
    "inference": "`_inference`: put, get, get all, update, rerank, delete, get again",
    "errors": "400 and 404 of a search as the client's own exceptions",
    "reranked errors": "the same of a reranked search",
    "compression": "search with requests and answers compressed",
    "reranked compression": "the same, reranked",
    "sniffing": "sniff, stay at the address that was given, and search reranked",
    "tls": "TLS, trusted by the fingerprint of the authority's certificate alone",
    "concurrency": "100 reranked searches at once",
}
"""By name of a step of a program, what it is on the page; `tests/clients/programs/README.md` has the rest."""
AT_THE_PROXY: Final = frozenset(
    {
        "reranked search",
        "reranked msearch",
        "async search",
        "inference",
        "reranked errors",
        "reranked compression",
    }
)
"""The steps that Elasticsearch without a licence for reranking cannot answer."""


@dataclass(frozen=True)
class Client:
    """A version of a client.

    Attributes:
        title: Its name on the page, with what of it is used.
        package: What it is installed as.
        version: Of the package.
        folder: Of its program in `tests/clients/programs`.
        servers: Major versions of Elasticsearch that it is run against.
        arguments: Of its program.
        lacks: By step that its program leaves out, the reason.
    """

    title: str
    package: str
    version: str
    folder: str
    servers: tuple[int, ...]
    arguments: tuple[str, ...] = ()
    lacks: Mapping[str, str] = field(default_factory=dict)

    def steps(self, mode: Mode, *, tls: bool) -> list[str]:
        """Return the steps that its program has to report."""
        return [
            step
            for step in STEPS
            if step not in self.lacks
            and (mode == "proxy" or step not in AT_THE_PROXY)
            and (tls or step != "tls")
        ]

    def __str__(self) -> str:
        return f"{self.title} {self.version}"


_BENEATH: Final = "is for the client beneath it"
_DSL: Final = {
    "info": _BENEATH,
    "async search": _BENEATH,
    "inference": _BENEATH,
    "compression": _BENEATH,
    "reranked compression": _BENEATH,
    "sniffing": _BENEATH,
    "tls": _BENEATH,
    "concurrency": _BENEATH,
}
_LEAF_ONLY: Final = {"tls": "takes the fingerprint of the server's own certificate only"}
_OLD_SNIFFER: Final = {"sniffing": "its sniffer is a package of its own"}
_NO_FINGERPRINT: Final = {"tls": "takes the authority's certificate, and no fingerprint"}
_NOT_OURS: Final = "OpenSearch has no such API"
_OPENSEARCH: Final = {
    "point in time": "opens them at a path of OpenSearch's own",
    "async search": _NOT_OURS,
    "inference": _NOT_OURS,
    "tls": "takes no fingerprint",
}
_JAVA: Final = "co.elastic.clients:elasticsearch-java"
_GO: Final = "github.com/elastic/go-elasticsearch"

CLIENTS: Final = (
    *(
        Client(f"elasticsearch-py, {kind}", "elasticsearch", version, "python", servers, (kind,), lacks)
        for version, servers in (("8.19.3", (8, 9)), ("9.5.1", (9,)))
        for kind, lacks in (("sync", {}), ("async", _LEAF_ONLY))
    ),
    *(
        Client("elasticsearch-py, dsl", "elasticsearch", version, "dsl", servers, (), _DSL)
        for version, servers in (("8.19.3", (8, 9)), ("9.5.1", (9,)))
    ),
    *(
        Client("@elastic/elasticsearch", "@elastic/elasticsearch", version, "javascript", servers)
        for version, servers in (("8.19.2", (8, 9)), ("9.5.1", (9,)))
    ),
    *(
        Client(
            f"go-elasticsearch, {kind}",
            "github.com/elastic/go-elasticsearch",
            version,
            "go",
            servers,
            (kind,),
        )
        for version, servers in (("8.19.7", (8, 9)), ("9.5.2", (9,)))
        for kind in ("typed", "low-level")
    ),
    Client("elasticsearch-java over Rest5Client", _JAVA, "9.5.3", "java", (9,), ("rest5",)),
    Client("elasticsearch-java over RestClient", _JAVA, "9.5.3", "java", (9,), ("rest",), _OLD_SNIFFER),
    Client(
        "the Rust crate elasticsearch", "elasticsearch", "9.1.0-alpha.1", "rust", (9,), (), _NO_FINGERPRINT
    ),
    Client("opensearch-py", "opensearch-py", "3.2.0", "opensearch", (8, 9), (), _OPENSEARCH),
)


@dataclass(frozen=True)
class Tool:
    """A tool that uses a client, on the way there and back.

    Attributes:
        title: Its name on the page.
        package, version: What it is installed as.
        folder: Of its program in `tests/clients/programs`, or the test that runs it.
        does: What it is seen to do.
    """

    title: str
    package: str
    version: str
    folder: str
    does: str


TOOLS: Final = (
    Tool(
        "LangChain",
        "langchain-elasticsearch",
        "1.0.0",
        "langchain",
        "fill an `ElasticsearchStore`, search it, and search it reranked with `ElasticsearchRetriever`",
    ),
    Tool(
        "Haystack",
        "elasticsearch-haystack",
        "7.1.0",
        "haystack",
        "fill an `ElasticsearchDocumentStore`, search it, and search it reranked with its client",
    ),
    Tool(
        "LlamaIndex",
        "llama-index-vector-stores-elasticsearch",
        "0.7.0",
        "llamaindex",
        "fill an `ElasticsearchStore`, search it, and search it reranked with a `custom_query`",
    ),
    Tool(
        "elasticdump",
        "elasticdump",
        "6.125.1",
        "elasticdump",
        "copy mapping and documents of an index through a file, then search the copy reranked",
    ),
    Tool(
        "Eland",
        "eland",
        "9.2.0",
        "tests/live/test_eland.py",
        "upload a cross-encoder, and search reranked with it",
    ),
)

CANNOT_WORK: Final = (
    (
        "PKI realms",
        "A client's certificate ends at the proxy: Elasticsearch does not see it.",
        "Use API keys, tokens or passwords, which go along with each request.",
    ),
    (
        "Clients that are configured by Cloud ID",
        "A Cloud ID names Elastic's own host, to which the client connects.",
        "Give the client the proxy's URL.",
    ),
    (
        "IP filters of Elasticsearch",
        "It sees the proxy's address, and trusts no `X-Forwarded-For`.",
        "Filter in front of the proxy, and let only the proxy reach Elasticsearch.",
    ),
)
"""What no proxy can do, why, and what to do instead."""
