"""The caller's headers go along with inner searches; those of one hop or one message do not."""

import pytest
from multidict import CIMultiDict

from rerank_proxy.http.media_types import header
from rerank_proxy.http.messages import fields_of, print_head
from rerank_proxy.upstream.headers import for_bodiless, for_client, for_upstream, of_own_answer

JSON = ("Content-Type", "application/json")
PRODUCT = ("X-elastic-product", "Elasticsearch")


def test_everything_of_the_caller_goes_along() -> None:
    raw = [
        (b"Host", b"es.example:9200"),
        (b"Authorization", b"ApiKey c2VjcmV0"),
        (b"X-Opaque-Id", b"42"),
        (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        (b"Accept", b"application/vnd.elasticsearch+json; compatible-with=9"),
        (b"es-security-runas-user", "jürgen".encode()),
    ]
    sent = [*raw, (b"Content-Type", _NINE.encode())]
    accepted = header(["application/vnd.elasticsearch+json; compatible-with=9"])
    headers = for_upstream(raw, accepted)
    assert list(headers.items()) == [(name.decode(), value.decode()) for name, value in sent]


def test_hop_by_hop_headers_stay() -> None:
    raw = [
        (b"Connection", b"close, X-Hop ,x-other"),
        (b"X-HOP", b"1"),
        (b"x-Other", b"2"),
        (b"X-Kept", b"3"),
        (b"Keep-Alive", b"timeout=5"),
        (b"TE", b"trailers"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Upgrade", b"h2c"),
        (b"HTTP2-Settings", b"x"),
        (b"Proxy-Authorization", b"Basic x"),
        (b"Proxy-Connection", b"keep-alive"),
        (b"Trailer", b"x"),
        (b"Content-Length", b"3"),
        (b"Content-Encoding", b"gzip"),
        (b"Accept-Encoding", b"gzip"),
        (b"Expect", b"100-continue"),
    ]
    assert list(for_upstream(raw).items()) == [("X-Kept", "3"), JSON]


def test_order_repeats_spelling_and_odd_bytes_survive() -> None:
    raw = [(b"x-a", b"1"), (b"X-A", "é".encode()), (b"b", b"4"), (b"X-a", b"\xe9"), (b"c", b"")]
    sent = print_head(b"GET / HTTP/1.1", for_upstream(raw).items())
    assert fields_of(sent) == [*raw, (b"Content-Type", b"application/json")]


@pytest.mark.parametrize(
    "body_type", ["application/json", "text/plain", "Application/X-NDJSON ; charset=UTF-8"]
)
def test_a_body_has_the_type_that_its_caller_named(body_type: str) -> None:
    raw = [(b"accept", b"application/json"), (b"content-type", body_type.encode()), (b"X-A", b"1")]
    sent = for_upstream(raw, header(["application/json"]), has_body=True)
    assert list(sent.items()) == [("accept", "application/json"), ("content-type", body_type), ("X-A", "1")]
    assert list(for_bodiless(sent).items()) == [("accept", "application/json"), ("X-A", "1")]


def test_a_type_without_a_body_says_nothing() -> None:
    raw = [(b"Content-Type", b"application/yaml"), (b"X-A", b"1")]
    assert list(for_upstream(raw).items()) == [("X-A", "1"), JSON]


def test_inner_requests_are_in_json() -> None:
    raw = [(b"Accept", b"application/yaml"), (b"Content-Type", b"application/cbor")]
    sent = for_upstream(raw, header(["application/yaml"]), has_body=True)
    assert list(sent.items()) == [("Accept", "application/json"), ("Content-Type", "application/json")]


def test_upstreams_headers_come_back() -> None:
    raw = [
        (b"X-elastic-product", b"Elasticsearch"),
        (b"content-type", b"application/json"),
        (b"Warning", b'299 "a"'),
        (b"Warning", b'299 "b"'),
        (b"WWW-Authenticate", b"Basic"),
        (b"WWW-Authenticate", b"ApiKey"),
        (b"X-Raw", b"\xe9"),
        (b"Connection", b"close, X-Hop"),
        (b"x-hop", b"1"),
        (b"content-length", b"10"),
        (b"content-encoding", b"gzip"),
        (b"Transfer-Encoding", b"chunked"),
    ]
    assert for_client(raw) == [
        ("X-elastic-product", "Elasticsearch"),
        ("content-type", "application/json"),
        ("Warning", '299 "a"'),
        ("Warning", '299 "b"'),
        ("WWW-Authenticate", "Basic"),
        ("WWW-Authenticate", "ApiKey"),
        ("X-Raw", "\udce9"),
    ]


@pytest.mark.parametrize("status", [401, 403])
def test_who_is_not_let_in_is_not_told_the_product(status: int) -> None:
    assert of_own_answer({"X-Opaque-Id": "a"}, status) == [("X-Opaque-Id", "a")]


_NINE = "application/vnd.elasticsearch+json;compatible-with=9"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ([], "application/json"),
        (["*/*"], "application/json"),
        (["application/json"], "application/json"),
        (["application/json;charset=utf-8"], "application/json"),
        (["text/html, application/vnd.elasticsearch+json;compatible-with=9"], "application/json"),
        (["application/vnd.elasticsearch+json; compatible-with=9,text/plain"], "application/json"),
        (["application/vnd.elasticsearch+json; compatible-with=9"], _NINE),
        (["Application/vnd.elasticsearch+x-ndjson;compatible-with=9"], _NINE),
        (["application/json; compatible-with=9"], _NINE),
    ],
)
def test_a_body_of_ours_has_the_version_of_the_answer(accept: list[str], content_type: str) -> None:
    assert for_upstream((), header(accept)).getall("content-type") == [content_type]


def test_clients_recognise_the_product() -> None:
    assert of_own_answer(CIMultiDict()) == [PRODUCT]


def test_an_opaque_id_comes_back() -> None:
    assert of_own_answer(CIMultiDict({"x-opaque-id": "7"})) == [("X-Opaque-Id", "7"), PRODUCT]
