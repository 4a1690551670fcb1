"""However a body is written, coded and encoded: a search that reranks is read just where Elasticsearch reads
one that does not, and is refused where Elasticsearch refuses it.
"""

import gzip
import json
import re
import zlib
from asyncio import IncompleteReadError
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import cbor2
import pytest

from rerank_proxy.edge.server import Edge
from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.support import snappy
from tests.support.proxied import proxied
from tests.support.raw_http import connect
from tests.support.searches import reranking

Body = Mapping[str, Any]
PLAIN: Final[Body] = {"query": {"match": {"text": "crime"}}}
RERANKED: Final[Body] = reranking()


@dataclass(frozen=True)
class Spelling:
    """A way to write a body."""

    write: Callable[[Body], bytes]
    content_type: str = "application/json"
    codings: tuple[str, ...] = ()
    api: str = "_search"


def text(body: Body) -> str:
    return json.dumps(body, ensure_ascii=False)


def encoded(encoding: str, mark: bytes = b"") -> Spelling:
    return Spelling(lambda body: mark + text(body).encode(encoding))


def coded(*codings: str, by: Callable[[bytes], bytes]) -> Spelling:
    return Spelling(lambda body: by(text(body).encode()), codings=codings)


def in_yaml(spell: Callable[[str], str], encoding: str = "utf-8") -> Spelling:
    """Spell each name of the search with `spell`, which puts it in double quotes."""

    def write(body: Body) -> bytes:
        return re.sub(r'"(\w+)": ', lambda name: spell(name[1]), text(body)).encode(encoding)

    return Spelling(write, "application/yaml")


def escaped(form: str) -> Callable[[str], str]:
    return lambda name: '"' + "".join(form.format(ord(character)) for character in name) + '": '


def joined(name: str) -> str:
    return f'? "{name[:2]}\\\n   {name[2:]}"\n : '


def in_cbor(encode: Callable[[str], bytes]) -> Spelling:
    """Write each name of the search with `encode`."""

    def value(of: Any) -> bytes:
        if isinstance(of, Mapping):
            return b"\xbf" + b"".join(encode(name) + value(item) for name, item in of.items()) + b"\xff"
        return cbor2.dumps(of)

    return Spelling(value, "application/cbor")


def chunks(name: str) -> bytes:
    return b"\x7f" + b"".join(cbor2.dumps(part) for part in (name[:1], "", name[1:3], name[3:])) + b"\xff"


def byte_chunks(name: str) -> bytes:
    parts = (name[:2].encode(), name[2:].encode())
    return b"\x5f" + b"".join(cbor2.dumps(part) for part in parts) + b"\xff"


def lines(encoding: str, *, header: str = "utf-8", end: str = "utf-8") -> Spelling:
    """Write a header and a body for `_msearch`."""
    return Spelling(
        lambda body: "{}".encode(header) + "\n".encode(end) + text(body).encode(encoding) + "\n".encode(end),
        api="_msearch",
    )


def in_two(data: bytes) -> bytes:
    """Compress into two gzip members."""
    return gzip.compress(data[:20]) + gzip.compress(data[20:])


def twice(data: bytes) -> bytes:
    return gzip.compress(gzip.compress(data))


def corrupt(data: bytes) -> bytes:
    return gzip.compress(data)[:-8] + b"\0" * 8


def stored(data: bytes) -> bytes:
    """Gzip that does not compress: cut at a byte it lacks that byte."""
    encoder = zlib.compressobj(0, zlib.DEFLATED, 31)
    return encoder.compress(data) + encoder.flush()


def raw_deflate(data: bytes) -> bytes:
    return zlib.compress(data)[2:-4]


SPELLINGS: Final = {
    **{
        name: encoded(name)
        for name in (
            "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be",
        )
    },
    "utf-16-be with its mark": encoded("utf-16-be", b"\xfe\xff"),
    "utf-32-be with its mark": encoded("utf-32-be", b"\0\0\xfe\xff"),
    "utf-32 in an odd order": encoded("utf-32-be", b"\0\0\xff\xfe"),
    "utf-32 in another odd order": encoded("utf-32-be", b"\xfe\xff\0\0"),
    "utf-16 with an odd byte": Spelling(lambda body: text(body).encode("utf-16-le") + b"\0"),
    "utf-16 less a byte": Spelling(lambda body: text(body).encode("utf-16-le")[:-1]),
    "utf-32 with an odd byte": Spelling(lambda body: text(body).encode("utf-32-le") + b"\0"),
    "utf-32 with an invalid character": Spelling(
        lambda body: text(body).encode("utf-32-le").replace(b"c\0\0\0", b"c\0\x20\0", 1)
    ),
    "half a surrogate": Spelling(
        lambda body: text({**body, "stats": ["\ud800"]}).encode("utf-16-le", "surrogatepass")
    ),
    "a zero first": Spelling(lambda body: b"\0" + text(body).encode()),
    "utf-16 as another charset": Spelling(
        lambda body: text(body).encode("utf-16"), "application/json; charset=iso-8859-1"
    ),
    "utf-16, compressed": coded("gzip", by=lambda data: gzip.compress(data.decode().encode("utf-16"))),
    "gzip": coded("gzip", by=gzip.compress),
    "GZIP": coded("GZIP", by=gzip.compress),
    "x-gzip": coded("x-gzip", by=gzip.compress),
    "deflate": coded("deflate", by=zlib.compress),
    "raw deflate": coded("deflate", by=raw_deflate),
    "snappy": coded("snappy", by=snappy.compress),
    "x-snappy": coded("x-snappy", by=snappy.compress),
    "snappy that is none": coded("snappy", by=bytes),
    "a coding that Elasticsearch does not know": coded("br", by=bytes),
    "what no coding is": coded("gzip", by=bytes),
    "two gzip members": coded("gzip", by=in_two),
    "a gzip member after all": coded("gzip", by=lambda data: gzip.compress(data) + gzip.compress(b" {}")),
    "a few bytes after all": coded("gzip", by=lambda data: gzip.compress(data) + b"\0" * 9),
    "many bytes after all": coded("gzip", by=lambda data: gzip.compress(data) + b"\0" * 10),
    "a corrupt end": coded("gzip", by=corrupt),
    "a body that ends before its sum": coded("gzip", by=lambda data: gzip.compress(data)[:-8]),
    "a body that ends too early": coded("gzip", by=lambda data: stored(data)[:-9]),
    "deflate that ends before its sum": coded("deflate", by=lambda data: zlib.compress(data)[:-4]),
    "bytes after deflate": coded("deflate", by=lambda data: zlib.compress(data) + b"x" * 20),
    "two lines of one coding": coded("gzip", "gzip", by=gzip.compress),
    "two lines of two codings": coded("gzip", "deflate", by=gzip.compress),
    "two lines, coded twice": coded("gzip", "gzip", by=twice),
    "two lines, the second in vain": coded("identity", "gzip", by=bytes),
    "two lines, the first empty": coded("", "gzip", by=bytes),
    "two lines, only the second right": coded("identity", "gzip", by=gzip.compress),
    "a list of one": coded("gzip, gzip", by=twice),
    "YAML": in_yaml(lambda name: f"{name}: "),
    "YAML, \\x": in_yaml(escaped("\\x{:02x}")),
    "YAML, \\u": in_yaml(escaped("\\u{:04X}")),
    "YAML, \\U": in_yaml(escaped("\\U{:08x}")),
    "YAML over two lines": in_yaml(joined),
    "YAML, \\x in JSON": Spelling(lambda body: in_yaml(escaped("\\x{:02x}")).write(body)),
    "YAML in UTF-16": in_yaml(lambda name: f"{name}: ", "utf-16"),
    "YAML in UTF-16 without a mark": in_yaml(lambda name: f"{name}: ", "utf-16-le"),
    "YAML with a mark": in_yaml(lambda name: f"{name}: ", "utf-8-sig"),
    "CBOR": in_cbor(cbor2.dumps),
    "CBOR, names in chunks": in_cbor(chunks),
    "CBOR, names in bytes": in_cbor(lambda name: cbor2.dumps(name.encode())),
    "CBOR, names in chunks of bytes": in_cbor(byte_chunks),
    **{f"a line in {name}": lines(name) for name in ("utf-8-sig", "utf-16", "utf-16-be", "utf-32-be")},
    **{
        f"lines in {name}": lines(name, header=name, end=name)
        for name in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
    },
}  # fmt: skip


@pytest.fixture
async def proxy(elasticsearch: RunningElasticsearch, tmp_path: Path) -> AsyncIterator[Edge]:
    async with proxied(elasticsearch.url, tmp_path) as edge:
        yield edge


@pytest.fixture
def index(make_index: MakeIndex) -> str:
    return make_index([{"text": f"crime {n}"} for n in (1, 3, 2)])


@dataclass(frozen=True)
class Told:
    """What a client learns."""

    status: int
    fault: str | None = None
    ids: tuple[str, ...] = ()
    reason: str = ""
    outcome: str | None = None


async def ask(port: int, index: str, spelling: Spelling, body: Body) -> Told | None:
    """Send the search. Return None if the connection is closed without an answer."""
    data = spelling.write(body)
    fields = [f"Content-Type: {spelling.content_type}", "Accept: application/json"]
    fields += [f"Content-Encoding: {coding}" for coding in spelling.codings]
    head = f"POST /{index}/{spelling.api} HTTP/1.1\r\nHost: a\r\n" + "".join(f"{each}\r\n" for each in fields)
    async with connect(port) as wire:
        await wire.send(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        try:
            answer = await wire.read_message()
        except (IncompleteReadError, ConnectionResetError):
            return None
    found = json.loads(b"".join(re.findall(rb"[0-9a-f]+\r\n(.*)\r\n", answer.body)) or answer.body)
    if "error" in found:
        return Told(answer.status, found["error"]["type"], reason=found["error"]["reason"])
    (one,) = found.get("responses", [found])
    outcome = answer.field("x-rerank")
    return Told(answer.status, ids=tuple(hit["_id"] for hit in one["hits"]["hits"]), outcome=outcome)


@pytest.mark.every_version
@pytest.mark.parametrize("name", SPELLINGS)
async def test_it_is_read_where_elasticsearch_reads_it(
    elasticsearch: RunningElasticsearch, proxy: Edge, index: str, name: str
) -> None:
    spelling = SPELLINGS[name]
    native = await ask(urlsplit(elasticsearch.url).port or 0, index, spelling, PLAIN)
    plain = await ask(proxy.address.port, index, spelling, PLAIN)
    ours = await ask(proxy.address.port, index, spelling, RERANKED)
    assert ours is not None
    assert "unknown retriever" not in ours.reason
    assert "\n" not in ours.reason.partition("\n at [Source")[0]
    if native is None:  # it closes the connection
        assert plain is not None
        assert (plain.status, plain.fault) == (ours.status, ours.fault) == (400, "zip_exception")
        return
    assert plain == native
    assert (ours.status, ours.fault) == (native.status, native.fault)
    if native.status == 200 and native.ids:
        assert ours.ids == ("1", "2", "0")
        assert ours.outcome is not None
        assert "applied" in ours.outcome
