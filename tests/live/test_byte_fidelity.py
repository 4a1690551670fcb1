"""Invariant: whatever bytes a client sends, it gets what Elasticsearch itself would have sent it.

Each case goes to Elasticsearch and to the proxy. Status lines, header lines with their order and case,
bodies, and what becomes of the connection are the same, but for `PERMITTED`.
"""

import gzip
import ssl
import uuid
import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from rerank_proxy.edge.server import Edge
from rerank_proxy.settings import load
from testbed import RunningElasticsearch
from testbed.proxy import RunningProxy
from tests.support.fidelity import Seen, see
from tests.support.permitted import PERMITTED, Difference
from tests.support.tls import Authority

QUERY: Final = b'{"query":{"match_all":{}},"size":0}'
JSON: Final = b"Content-Type: application/json\r\n"
SIZED: Final = JSON + b"Content-Length: %d\r\n" % len(QUERY)
CHUNKED: Final = JSON + b"Transfer-Encoding: chunked\r\n"
CHUNKS: Final = b"%x\r\n%b\r\n0\r\n\r\n" % (len(QUERY), QUERY)
PACKED: Final = gzip.compress(QUERY, mtime=0)
SEARCH: Final = b"POST /INDEX/_search HTTP/1.1"
COUNT: Final = b"POST /INDEX/_count HTTP/1.1"
DOCUMENT: Final = b"PUT /INDEX/_doc/1 HTTP/1.1"
TOO_LONG: Final = JSON + b"Content-Length: 200000000\r\n"
COUNTED: Final = b'{"query":{"match_all":{}}}'
INFO: Final = b"GET / HTTP/1.1"
EXPECT: Final = b"Host: h\r\nExpect: 100-continue\r\n"


@dataclass(frozen=True)
class Case:
    """A request, in the pieces in which it is sent.

    Attributes:
        bodies: Of each answer: whether it has a body.
        is_cut: Its body is not sent, so that another request can follow only if none has to be.
    """

    pieces: tuple[bytes, ...]
    bodies: tuple[bool, ...] = (True,)
    is_cut: bool = False


def case(line: bytes, fields: bytes = b"Host: h\r\n", body: bytes = b"") -> Case:
    return Case((line + b"\r\n" + fields + b"\r\n" + body,), (not line.startswith(b"HEAD "),))


def cut(line: bytes) -> Case:
    return replace(case(line, TOO_LONG), is_cut=True)


def got(target: bytes) -> Case:
    return case(b"GET %b HTTP/1.1" % target)


def coded(coding: bytes, body: bytes) -> Case:
    fields = JSON + b"Content-Encoding: %b\r\nContent-Length: %d\r\n" % (coding, len(body))
    return case(SEARCH, fields, body)


def joined(*cases: Case) -> Case:
    return Case(
        (b"".join(piece for each in cases for piece in each.pieces),),
        tuple(has_body for each in cases for has_body in each.bodies),
    )


TARGETS: Final = {
    "date math": b"/%3CINDEX-%7Bnow%2Fd%7D%3E",
    "date math in plain": b"/<INDEX-{now/d}>",
    "escaped slashes": b"/INDEX/_doc/a%2Fb%2fc",
    "dots": b"/a/../INDEX/./_search",
    "many slashes": b"//INDEX//_search",
    "slashes at the end": b"/INDEX/_search//?size=0",
    "escapes in the query": b"/INDEX/_search?q=a%3Ab%20c+d&size=0",
    "broken escape": b"/INDEX/_search?q=%zz",
    "semicolons and empty parameters": b"/INDEX/_search?pretty&size=1;size=0&&=&",
    "empty query": b"/INDEX/_count?",
    "fragment": b"/INDEX/_count?q=1#frag",
    "absolute": b"http://other.example/INDEX",
    "bytes beyond ASCII": b"/n\xc3\xb6p\xe2\x82\xac/_doc/\xff",
    "capitals": b"/INDEX/_SEARCH",
    "escaped name of an API": b"/INDEX/%5Fsearch",
    "no slash": b"INDEX",
    "4,000 bytes": b"/" + b"x" * 3999,
    "5,000 bytes": b"/" + b"x" * 4999,
    "60,000 bytes": b"/" + b"x" * 59999,
    "asterisk": b"*",
}
METHODS: Final = (b"OPTIONS", b"HEAD", b"FOO", b"get", b"TRACE", b"PATCH", b"PROPFIND", b"PUT")

CASES: Final = {
    **{f"target: {name}": got(target) for name, target in TARGETS.items()},
    **{f"method: {name.decode()}": case(name + b" /INDEX/_doc/1 HTTP/1.1") for name in METHODS},
    "CONNECT": case(b"CONNECT /INDEX HTTP/1.1"),
    "OPTIONS of all": case(b"OPTIONS * HTTP/1.1"),
    "HEAD of what is missing": case(b"HEAD /missing-INDEX HTTP/1.1"),
    "HEAD that asks for gzip": case(b"HEAD / HTTP/1.1", b"Accept-Encoding: gzip\r\n"),
    # The beginning of a message
    "no host": case(INFO, b""),
    "two hosts": case(INFO, b"Host: a\r\nHost: b\r\n"),
    "folded field": case(INFO, b"Host: h\r\nX-A: 1\r\n 2\r\n"),
    "bare line feeds": Case((b"GET / HTTP/1.1\nHost: h\n\n",)),
    "a bare line feed": case(INFO, b"Host: h\nX: 1\r\n"),
    "space before the colon": case(INFO, b"Host : h\r\n"),
    "no colon": case(INFO, b"Host: h\r\nnonsense\r\n"),
    "NUL in a value": case(INFO, b"Host: h\r\nX: a\0b\r\n"),
    "bytes beyond ASCII in a value": case(INFO, b"Host: h\r\nX-Opaque-Id: \xe9\xff\r\n"),
    "opaque id": case(INFO, b"Host: h\r\nX-Opaque-Id: abc\r\n"),
    "empty lines before": Case((b"\r\n\r\n" + INFO + b"\r\nHost: h\r\n\r\n",)),
    "two spaces in the request line": case(b"GET  / HTTP/1.1"),
    "protocol in small letters": case(b"GET / http/1.1"),
    "HTTP/1.2": case(b"GET / HTTP/1.2"),
    "HTTP/2.0": case(b"GET / HTTP/2.0"),
    "preface of HTTP/2": Case((b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",)),
    "HTTP/0.9": Case((b"GET /\r\n\r\n",)),
    "9,000 bytes of a field": case(INFO, b"Host: h\r\nX: " + b"a" * 9000 + b"\r\n"),
    "17,000 bytes of a field": case(INFO, b"Host: h\r\nX: " + b"a" * 17000 + b"\r\n"),
    "300 fields": case(INFO, b"".join(b"X-%d: a\r\n" % number for number in range(300))),
    "cookie": case(INFO, b"Host: h\r\nCookie: a=b\r\n"),
    "origin": case(INFO, b"Host: h\r\nOrigin: http://elsewhere.example\r\n"),
    "each byte by itself": Case(tuple(b"%c" % byte for byte in SEARCH + b"\r\n" + SIZED + b"\r\n" + QUERY)),
    # Connections
    "close": case(INFO, b"Host: a\r\nConnection: close\r\n"),
    "upgrade to h2c": case(
        SEARCH,
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
        + SIZED,
        QUERY,
    ),
    "upgrade to websocket": case(
        INFO, b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n"
    ),
    "HTTP/1.0": case(b"GET / HTTP/1.0"),
    "HTTP/1.0 that keeps the connection": case(b"GET / HTTP/1.0", b"Connection: keep-alive\r\n"),
    "HTTP/1.0 search": case(b"POST /INDEX/_search HTTP/1.0", SIZED, QUERY),
    "HTTP/1.0 search that keeps the connection": case(
        b"POST /INDEX/_search HTTP/1.0", b"Connection: keep-alive\r\n" + SIZED, QUERY
    ),
    "HTTP/1.0 that expects 100": case(
        b"POST /INDEX/_count HTTP/1.0", EXPECT + JSON + b"Content-Length: %d\r\n" % len(COUNTED), COUNTED
    ),
    "pipelined": joined(
        case(INFO),
        case(SEARCH, SIZED, QUERY),
        case(b"HEAD /INDEX HTTP/1.1"),
        got(b"/missing-INDEX"),
        case(SEARCH, CHUNKED, CHUNKS),
        case(COUNT, JSON + b"Content-Length: %d\r\n" % len(COUNTED), COUNTED),
        case(b"FOO / HTTP/1.1"),
        case(b"POST /_bulk HTTP/1.1", b"Content-Type: application/x-ndjson\r\nContent-Length: 0\r\n"),
        case(INFO, b"Accept-Encoding: gzip\r\n"),
    ),
    # Bodies
    "chunks": case(SEARCH, CHUNKED, CHUNKS),
    "chunks, coding in capitals": case(SEARCH, JSON + b"TRANSFER-ENCODING: CHUNKED\r\n", CHUNKS),
    "chunk extensions": case(SEARCH, CHUNKED, CHUNKS.replace(b"\r\n", b';a=b;c="d"\r\n', 1)),
    "trailers": case(SEARCH, CHUNKED + b"Trailer: x-t\r\n", CHUNKS[:-2] + b"X-T: 1\r\n\r\n"),
    "chunks of one byte": case(
        COUNT, CHUNKED, b"".join(b"1\r\n%c\r\n" % byte for byte in COUNTED) + b"0\r\n\r\n"
    ),
    "gzip as transfer coding": case(SEARCH, JSON + b"Transfer-Encoding: gzip, chunked\r\n", CHUNKS),
    "content-length and chunks": case(SEARCH, SIZED + b"Transfer-Encoding: chunked\r\n", CHUNKS),
    "two equal lengths": case(SEARCH, SIZED * 2, QUERY),
    "two lengths": case(SEARCH, SIZED + b"Content-Length: 1\r\n", QUERY),
    "a list of lengths": case(SEARCH, JSON + b"Content-Length: 35, 35\r\n", QUERY),
    "length with a sign": case(SEARCH, JSON + b"Content-Length: +35\r\n", QUERY),
    "negative length": case(SEARCH, JSON + b"Content-Length: -1\r\n", QUERY),
    "length in hexadecimal": case(SEARCH, JSON + b"Content-Length: 0x23\r\n", QUERY),
    "search by GET": case(b"GET /INDEX/_search HTTP/1.1", SIZED, QUERY),
    "HEAD with a body": case(b"HEAD /INDEX HTTP/1.1", SIZED, QUERY),
    "too long": cut(SEARCH),
    "too long a document": cut(DOCUMENT),
    "no content type": case(SEARCH, b"Content-Length: %d\r\n" % len(QUERY), QUERY),
    "another content type": case(SEARCH, SIZED.replace(b"application/json", b"text/plain"), QUERY),
    "two content types": case(SEARCH, JSON + SIZED, QUERY),
    "two kinds of answer": case(INFO, b"Accept: application/json\r\n" * 2),
    "an old version": case(INFO, b"Accept: application/vnd.elasticsearch+json; compatible-with=5\r\n"),
    "answer in gzip": case(INFO, b"Accept-Encoding: gzip\r\n"),
    "answer in deflate": case(INFO, b"Accept-Encoding: br, deflate\r\n"),
    "answer in what it does not know": case(INFO, b"Accept-Encoding: br, zstd\r\n"),
    # Expectations
    "expects 100": Case((COUNT + b"\r\n" + EXPECT + JSON + b"Content-Length: 26\r\n\r\n", COUNTED)),
    "expects 100 in capitals": Case(
        (COUNT + b"\r\nEXPECT: 100-Continue\r\n" + JSON + b"Content-Length: 26\r\n\r\n" + COUNTED,)
    ),
    "search whose body did not wait for 100": case(SEARCH, EXPECT + SIZED, QUERY),
    "expects 100 without a body": case(INFO, EXPECT),
    "expects 100 for too much": case(SEARCH, EXPECT + TOO_LONG),
    "expects 100 for too much of a document": case(DOCUMENT, EXPECT + TOO_LONG),
    "expects something else": case(SEARCH, b"Expect: 200-ok\r\n" + SIZED, QUERY),
    # Codings
    "gzip": coded(b"gzip", PACKED),
    "gzip in capitals": coded(b"GZIP", PACKED),
    "x-gzip": coded(b"x-gzip", PACKED),
    "gzip twice": coded(b"gzip, gzip", PACKED),
    "gzip in members": coded(b"gzip", gzip.compress(QUERY[:9]) + gzip.compress(QUERY[9:])),
    "gzip without content": coded(b"gzip", b""),
    "gzip, only its beginning": coded(b"gzip", PACKED[:5]),
    "gzip truncated": coded(b"gzip", PACKED[:-12]),
    "gzip with a truncated trailer": coded(b"gzip", PACKED[:-4]),
    "gzip with little behind it": coded(b"gzip", PACKED + b"garbage"),
    "gzip with another second byte": coded(b"gzip", b"\x1f\x00" + PACKED[2:]),
    "gzip of another format": coded(b"gzip", QUERY),
    "gzip with a bad method": coded(b"gzip", PACKED[:2] + b"\7" + PACKED[3:]),
    "gzip with reserved flags": coded(b"gzip", PACKED[:3] + b"\xe0" + PACKED[4:]),
    "gzip corrupt in the middle": coded(b"gzip", PACKED[:15] + b"\xff" * 4 + PACKED[19:]),
    "gzip with a bad checksum": coded(b"gzip", PACKED[:-8] + bytes(4) + PACKED[-4:]),
    "gzip with a bad length": coded(b"gzip", PACKED[:-4] + bytes(4)),
    "gzip with much behind it": coded(b"gzip", PACKED + b"much more of garbage"),
    "gzip with zeros behind it": coded(b"gzip", PACKED + bytes(32)),
    "deflate": coded(b"deflate", zlib.compress(QUERY)),
    "deflate without a header": coded(b"deflate", zlib.compress(QUERY)[2:-4]),
    "deflate corrupt": coded(b"deflate", b"\x78\x9c\xff\xff\xff"),
    "snappy of another format": coded(b"snappy", b"something else"),
    "brotli, which it does not know": coded(b"br", QUERY),
    "identity": coded(b"identity", QUERY),
}


@pytest.fixture(scope="module")
def index(elasticsearch: RunningElasticsearch) -> Iterator[bytes]:
    """Make an index that no case changes."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    call = elasticsearch.server.call
    assert call("PUT", f"/{name}", {"settings": {"number_of_replicas": 0}}).status == 200
    assert call("PUT", f"/{name}/_doc/1?refresh", {"text": "a crime"}).status == 201
    yield name.encode()
    call("DELETE", f"/{name}")


CORE: Final = (
    *(f"method: {name.decode()}" for name in METHODS),
    "target: bytes beyond ASCII",
    "target: 60,000 bytes",
    "HEAD that asks for gzip",
    "each byte by itself",
    "no colon",
    "close",
    "upgrade to h2c",
    "upgrade to websocket",
    "HTTP/1.0",
    "HTTP/1.0 search",
    "pipelined",
    "trailers",
    "chunks of one byte",
    "two lengths",
    "HEAD with a body",
    "too long",
    "too long a document",
    "answer in gzip",
    "expects 100",
    "expects 100 without a body",
    "expects something else",
    "gzip corrupt in the middle",
)
"""The cases that also go through TLS."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def tls_port(
    elasticsearch: RunningElasticsearch, authority: Authority, tmp_path: Path
) -> AsyncIterator[int]:
    """Serve with TLS in front of Elasticsearch."""
    shown = authority.issue()
    settings = {
        "listen": "127.0.0.1:0",
        "tls": {"cert": str(shown.path), "key": str(shown.key_path)},
        "upstream": {"url": elasticsearch.url},
    }
    edge = Edge(load(None, settings, {}), tmp_path / "app.sock")
    await edge.start()
    yield edge.address.port
    await edge.stop()


@dataclass(frozen=True)
class Comparison:
    """One case at one Elasticsearch."""

    elasticsearch: RunningElasticsearch
    index: bytes
    case: Case
    permitted: Difference | None

    @classmethod
    def of(cls, name: str, elasticsearch: RunningElasticsearch, index: bytes) -> "Comparison":
        permitted = PERMITTED.get(name)
        if permitted is not None and elasticsearch.major not in permitted.direct:
            permitted = None
        return cls(elasticsearch, index, CASES[name], permitted)

    async def check(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Compare what comes from the proxy at a port with what Elasticsearch itself sends."""
        direct = await self._see(port_of(self.elasticsearch.url), self._expected)
        proxied = await self._see(port, None, tls)
        if self.permitted is None:
            assert proxied.comparable == direct.comparable
            assert proxied.is_open == direct.is_open
            return
        assert (direct.summary, proxied.summary) == (self._expected, self.permitted.proxied)
        assert (direct.comparable, direct.is_open) != (proxied.comparable, proxied.is_open)
        if proxied.status == direct.status >= 400:
            # In words of the proxy's, but as an error of Elasticsearch's.
            assert fields_of(proxied) == fields_of(direct)

    @property
    def _expected(self) -> str | None:
        return None if self.permitted is None else self.permitted.direct[self.elasticsearch.major]

    async def _see(self, port: int, expected: str | None, tls: ssl.SSLContext | None = None) -> Seen:
        sent = [piece.replace(b"INDEX", self.index) for piece in self.case.pieces]
        asks_for_end = expected is None or expected.endswith(("open", "closed"))
        return await see(
            port, sent, self.case.bodies, reads_on=asks_for_end, is_cut=self.case.is_cut, tls=tls
        )


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


def fields_of(seen: Seen) -> list[bytes]:
    """Return the names in the head of the last answer.

    Without `Allow`, for which one has to know the methods of each path.
    """
    names = (line.partition(b":")[0] for line in seen.answers[-1].head.split(b"\r\n")[1:] if line)
    return [name for name in names if name not in (b"connection", b"Allow")]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.every_version
async def test_the_answer_is_elasticsearchs(
    elasticsearch: RunningElasticsearch, proxy: RunningProxy, index: bytes, name: str
) -> None:
    await Comparison.of(name, elasticsearch, index).check(port_of(proxy.server.url))


@pytest.mark.parametrize("name", CORE)
@pytest.mark.every_version
async def test_the_answer_is_elasticsearchs_through_tls(
    elasticsearch: RunningElasticsearch, tls_port: int, authority: Authority, index: bytes, name: str
) -> None:
    await Comparison.of(name, elasticsearch, index).check(tls_port, authority.client())


def test_every_permitted_difference_is_a_case() -> None:
    assert PERMITTED.keys() <= CASES.keys()
