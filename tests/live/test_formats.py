"""A search in every format: what is made of Elasticsearch's JSON here is what Elasticsearch prints itself."""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import cbor2
import pytest

from rerank_proxy.app.formats.bodies import from_json, to_json
from rerank_proxy.app.formats.filter_path import filtered
from rerank_proxy.app.formats.stack_traces import with_stack_traces
from rerank_proxy.errors import Cause, ElasticsearchError
from rerank_proxy.http.media_types import Format, format_of
from rerank_proxy.http.negotiation import is_refusal, negotiate
from testbed import RunningElasticsearch
from testbed.http import Reply
from tests.live.conftest import MakeIndex

pytestmark = pytest.mark.every_version

JSON = "application/json"
VENDOR = "application/vnd.elasticsearch+"
LOREM = "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod   tempor incididunt ut. "
INDICATORS = "-+.~?:,[]{}#&*!|>'\"%@`=<_ \t\n\x01é"
NAMES = [
    *(f"{indicator}a" for indicator in INDICATORS),
    *(f"a{indicator}" for indicator in INDICATORS),
    *(
        "",
        "~",
        "-",
        "--",
        "yes",
        "off",
        "Y",
        "n",
        "true",
        "tRue",
        "null",
        "NaN",
        "123",
        "1.5",
        "<<",
        "x" * 127,
    ),
    *("x" * 128, "with space", "a:b", "a: b", "a #b", "- a", "? a", "a'b: c"),
]
DOCUMENT: dict[str, Any] = {
    "text": [
        "plain",
        "",
        " lead",
        "trail ",
        "a\nb",
        "a\r\nb",
        "a\tb",
        "say \"x\" 'y'",
        "a\\b",
        "é€\U0001f600",
    ],
    "looks": ["123", "true", "null", "~", "1.5", "- a", "a: b", "#", "2020-01-01"],
    "odd": "\x01\x07\x1b\x7f\x85\xa0\u2028\u2029\ud7ff\ue000\ufffd\uffff",
    "long": [LOREM * 3, "a" * 140 + " b", "é" * 100 + " b", "line one\n" * 20, "\\" * 90, "\U0001f600 " * 50],
    "integers": [0, 23, 24, 255, 256, 2**16, 2**31, 2**32, 2**63 - 1, -(2**63), 10**30, -1, -256],
    "doubles": [1.1, 1e5, 1e-7, 1.5e300, 0.001, 0.00099, 12345678.5, 1234567.5, 1e23, -0.0, 5e-324],
    "deep": {
        "y": [1, [2, [], {}], {"k": "v", "z": [{"a": None}]}],
        "a.b": {"c.d": 5},
        "b": {"c": 1, "d": {"c": 2}},
    },
    "mixed": [{"a": 1, "b": 2}, {"b": 3}, [], {}, [{"a": 9}], 7, "s", True, False, None],
    "empty": {"object": {}, "array": []},
    "names": dict.fromkeys(NAMES, 1),
}


def search(
    elasticsearch: RunningElasticsearch,
    index: str,
    query: str = "",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"{}",
) -> Reply:
    sent = {"Content-Type": JSON, **(headers or {})}
    return elasticsearch.server.call("POST", f"/{index}/_search?{query}", body, headers=sent)


@pytest.fixture
def index(make_index: MakeIndex) -> str:
    return make_index([DOCUMENT, {"text": "second"}], mappings={"enabled": False})


def without_took(body: bytes) -> bytes:
    return re.sub(rb'^(---\n|\{\s*")took("?\s?: ?)\d+', rb"\1took\g<2>0", body)


def decoded(body: bytes) -> Any:
    answer = cbor2.loads(body)
    answer.pop("took", None)
    return answer


@pytest.mark.parametrize("query", ["", "pretty", "version=true&typed_keys", "_source=false"])
def test_yaml_answers(elasticsearch: RunningElasticsearch, index: str, query: str) -> None:
    own = from_json(search(elasticsearch, index, query).body, Format.YAML)
    native = search(elasticsearch, index, query, {"Accept": "application/yaml"}).body
    assert without_took(own).decode() == without_took(native).decode()


@pytest.mark.parametrize("query", ["", "pretty"])
def test_cbor_answers(elasticsearch: RunningElasticsearch, index: str, query: str) -> None:
    own = from_json(search(elasticsearch, index, query).body, Format.CBOR)
    native = search(elasticsearch, index, f"{query}&format=cbor").body
    assert repr(decoded(own)) == repr(decoded(native))
    assert own[:1] == native[:1] == b"\xbf"


def test_short_cbor_answers_are_the_same_bytes(
    elasticsearch: RunningElasticsearch, make_index: MakeIndex
) -> None:
    index = make_index([{"text": "one two", "n": 1.5, "tags": ["a", "b"], "o": {}}])
    own = from_json(search(elasticsearch, index, "filter_path=hits").body, Format.CBOR)
    assert own == search(elasticsearch, index, "filter_path=hits&format=cbor").body


def test_scores_are_float32(elasticsearch: RunningElasticsearch, make_index: MakeIndex) -> None:
    index = make_index([{"text": f"crime {'and more ' * n}"} for n in range(5)])
    body = b'{"query":{"match":{"text":"crime"}}}'
    own = from_json(search(elasticsearch, index, body=body).body, Format.CBOR)
    assert decoded(own) == decoded(search(elasticsearch, index, "format=cbor", body=body).body)


@pytest.mark.parametrize(
    ("format_", "accept"), [(Format.YAML, "application/yaml"), (Format.CBOR, "application/cbor")]
)
@pytest.mark.parametrize("body", [b"{}", b'{"query":{"nope":{}}}', b'{"size":0', b'{"from":20000}'])
def test_errors(
    elasticsearch: RunningElasticsearch, index: str, format_: Format, accept: str, body: bytes
) -> None:
    name = index if body != b"{}" else "missing"
    native = search(elasticsearch, name, "filter_path=took", {"Accept": accept}, body)
    assert native.status in (400, 404)
    assert native.headers["content-type"] == accept
    assert from_json(search(elasticsearch, name, body=body).body, format_) == native.body


PATHS = [
    "took",
    "hits.hits._id,took",
    " _shards , hits.total ",
    ",",
    "-",
    "*",
    "**",
    "nope",
    "-nope",
    "**.took",
    "hits.",
    ".hits",
    "-hits",
    "-*.*",
    "-**",
    "_shards,-_shards",
    "_shards.f*,_shards.*l",
    "h*s.h**s._id",
    "**.c",
    "hits.**.**.c",
    "-**.c",
    "hits.hits._source.*.c",
    "hits.hits._source.**.c",
    "hits.hits._source.deep.a.b",
    r"hits.hits._source.deep.a\.b.c\.d",
    "hits.hits._source.mixed",
    "hits.hits._source.mixed.a",
    "hits.hits._source.mixed.*",
    "-hits.hits._source.mixed.a",
    "-hits.hits._source.mixed.*",
    "hits.hits._source.empty.*",
    "-hits.hits._source.empty.object",
    "-hits.hits._source.empty.*.x",
    "hits.hits._source.names.a*b",
    "hits.hits._source.names.",
    "hits.hits._source.names.with space",
    "hits.hits._source.text.x",
    "hits.hits._source.b,-**.d",
    "hits.hits._source.b,hits.hits._source.b.d",
    "-hits.hits._source.b.**.c",
]


def test_filter_path(elasticsearch: RunningElasticsearch, index: str) -> None:
    """In compact answers a source keeps the layout in which it was indexed: only its values are compared."""
    whole, laid_out = search(elasticsearch, index).body, search(elasticsearch, index, "pretty").body
    for path in PATHS:
        query = f"filter_path={quote(path)}"
        native = search(elasticsearch, index, query).body
        assert json.loads(without_took(filtered(whole, path))) == json.loads(without_took(native)), path
        native = search(elasticsearch, index, f"pretty&{query}").body
        assert without_took(filtered(laid_out, path)).decode() == without_took(native).decode(), path


HEADERS = [
    (None, JSON),
    ("application/yaml", JSON),
    ("Application/CBOR", JSON),
    ("*/*", JSON),
    ("*/*;q=0.8", JSON),
    ("text/html", JSON),
    ("application/json; charset=UTF-8", JSON),
    ("application/yaml, application/json", JSON),
    ("application/yaml;q=0.5", JSON),
    ("application/x-ndjson", JSON),
    (VENDOR + "yaml", JSON),
    (None, "application/x-ndjson"),
    (None, VENDOR + "json"),
    (VENDOR + "json;compatible-with=8", VENDOR + "json; compatible-with=8"),
    (VENDOR + "yaml; compatible-with=8", VENDOR + "json;compatible-with=8"),
    (VENDOR + "x-ndjson;compatible-with=8", VENDOR + "json;compatible-with=8"),
    ("", JSON),
    ("garbage", JSON),
    ("a/b/c", JSON),
    ("application/json;foo", JSON),
    ("application/yaml;a = b", JSON),
    ("application/yaml", "garbage"),
    (VENDOR + "yaml;compatible-with=8", JSON),
    ("*/*", VENDOR + "json;compatible-with=8"),
    (VENDOR + "json;compatible-with=9", VENDOR + "json;compatible-with=8"),
]


@pytest.mark.parametrize("parameter", [None, "", "yaml", "CBOR", "json", "foo"])
def test_negotiation(elasticsearch: RunningElasticsearch, index: str, parameter: str | None) -> None:
    query = f"format={parameter}" if parameter is not None else ""
    for accept, content_type in HEADERS:
        headers = {"Content-Type": content_type} | ({"Accept": accept} if accept is not None else {})
        native = search(elasticsearch, index, query, headers, b'{"size":0}')
        own = negotiate(parameter, [accept] if accept is not None else [], [content_type], has_body=True)
        if own is None:
            assert native.status == 400, (accept, content_type)
            assert b"media_type_header_exception" in native.body
        else:
            assert (native.status, native.headers["content-type"]) == (200, own.content_type)


ACCEPTS = [
    None,
    JSON,
    "*/*",
    "application/json, text/plain",
    "application/yaml",
    VENDOR + "json; compatible-with=8",
    VENDOR + "yaml;compatible-with=8",
    VENDOR + "json; compatible-with=8,text/plain",
]
TYPES_OF_NOTHING = [
    None,
    JSON,
    "application/yaml",
    "garbage",
    VENDOR + "json",
    VENDOR + "json; compatible-with=8",
    VENDOR + "x-ndjson;compatible-with=8",
    VENDOR + "json; compatible-with=6",
]


@pytest.mark.parametrize("accept", ACCEPTS)
def test_negotiation_without_a_body(
    elasticsearch: RunningElasticsearch, index: str, accept: str | None
) -> None:
    """The JavaScript client's requests without a body have these headers, too."""
    for content_type in TYPES_OF_NOTHING:
        sent = {"Accept": accept, "Content-Type": content_type}
        headers = {name: value for name, value in sent.items() if value is not None}
        native = elasticsearch.server.call("GET", f"/{index}/_search", headers=headers)
        values = [[value] if value is not None else [] for value in (accept, content_type)]
        own = negotiate(None, *values, has_body=False)
        if own is None:
            assert native.status == 400, content_type
            assert b"media_type_header_exception" in native.body
        else:
            assert (native.status, native.headers["content-type"]) == (200, own.content_type), content_type


def test_versions_are_upstreams_to_refuse(elasticsearch: RunningElasticsearch, index: str) -> None:
    media_type = VENDOR + "json;compatible-with=6"
    refused = search(elasticsearch, index, headers={"Accept": media_type, "Content-Type": media_type})
    assert is_refusal(refused.status, refused.body)


YAML_BODY = """\
---
a: {b: [yes, No, tRue, ~, '', 012, 0x1F, 1_000, 1e3, +1.5, .5, 08, 1:30, 2020-01-01, y], c: "\\x41\\u00e9"}
d: |
  one
  two
e: &x 12
f: *x
1: x
~: !!str 12
g: !!binary SGk=
"""


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/yaml", YAML_BODY.encode()),
        (
            "application/cbor",
            cbor2.dumps(
                {**DOCUMENT, "bytes": b"ab", "undefined": cbor2.undefined}, indefinite_containers=True
            ),
        ),
        ("application/cbor", bytes.fromhex("a461612061 6262c3a9 6163c482211907d2 6164a10102")),
    ],
    ids=["yaml", "cbor", "cbor by hand"],
)
def test_bodies_are_read_alike(
    elasticsearch: RunningElasticsearch, index: str, content_type: str, body: bytes
) -> None:
    server = elasticsearch.server
    stored = server.call("PUT", f"/{index}/_doc/x", body, headers={"Content-Type": content_type})
    assert stored.status == 201, stored.body
    native = server.call("GET", f"/{index}/_source/x", headers={"Accept": JSON})
    assert json.loads(to_json(body, format_of(content_type))) == native.json()


@pytest.mark.parametrize("body", [b"a: 'b", b"a: @x", b"a: \x01", b"a: \xff"])
def test_malformed_yaml(elasticsearch: RunningElasticsearch, index: str, body: bytes) -> None:
    headers = {"Content-Type": "application/yaml", "Accept": JSON}
    native = search(elasticsearch, index, headers=headers, body=body)
    with pytest.raises(ElasticsearchError) as raised:
        to_json(body, Format.YAML)
    own = raised.value.body()

    def outermost(error: dict[str, Any]) -> list[str]:
        return [error["type"], error["caused_by"]["type"]]

    assert own["status"] == native.status
    assert outermost(own["error"]) == outermost(native.json()["error"])


def test_stack_traces_stand_where_native_ones_do(elasticsearch: RunningElasticsearch, index: str) -> None:
    native = search(elasticsearch, index, "error_trace=true", body=b'{"query":{"nope":{}}}').json()
    inner = Cause("named_object_not_found_exception", "unknown field [nope]")
    failure = ElasticsearchError(
        400, Cause("parsing_exception", "unknown query [nope]", {"line": 1, "col": 18}, caused_by=inner)
    )
    own = with_stack_traces(failure.body())

    def shape(value: Any) -> Any:
        if isinstance(value, dict):
            return [(name, shape(item)) for name, item in value.items()]
        return [shape(item) for item in value] if isinstance(value, list) else type(value)

    assert shape(own) == shape(native)
