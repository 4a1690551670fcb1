import json
from pathlib import Path

import pytest

from rerank_proxy.edge import answers
from rerank_proxy.http.connection_faults import ConnectionFault
from rerank_proxy.http.head import RequestHead, parse_request
from rerank_proxy.settings import UpstreamSettings
from rerank_proxy.upstream.targets import TargetError, UnixTarget, node_targets


def split(answer: bytes) -> tuple[list[bytes], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.split(b"\r\n"), body


def asked(*fields: bytes, method: bytes = b"GET") -> RequestHead:
    return parse_request(b"\r\n".join([method + b" / HTTP/1.1", *fields, b"", b""]))


def test_shape() -> None:
    (target,) = node_targets(UpstreamSettings(url="http://es:9200"))
    failure = answers.unreachable(TargetError(ConnectionFault("connection refused"), target))
    request = asked(b"x-opaque-id: a\xc3\xa9\xff", b"Accept: text/html")
    lines, body = split(answers.render(failure, close=False, request=request))
    assert lines == [
        b"HTTP/1.1 502 Bad Gateway",
        b"X-Opaque-Id: a\xc3\xa9\xff",
        b"X-elastic-product: Elasticsearch",
        b"content-type: application/json",
        b"content-length: %d" % len(body),
    ]
    parsed = json.loads(body)
    assert parsed["status"] == 502
    assert parsed["error"]["root_cause"] == [
        {"type": parsed["error"]["type"], "reason": parsed["error"]["reason"]}
    ]
    for part in ("http://es:9200", "connection refused", "upstream.url"):
        assert part in parsed["error"]["reason"]


def test_answer_to_head_has_the_length_but_not_the_body() -> None:
    with_body = split(answers.render(answers.malformed("x"), close=True))
    request = asked(method=b"HEAD")
    without = split(answers.render(answers.malformed("x"), close=True, request=request))
    assert without == (with_body[0], b"")
    assert b"connection: close" in without[0]


@pytest.mark.parametrize(
    ("fields", "content_type"),
    [
        ([], b"application/json"),
        (
            [b"accept: application/vnd.elasticsearch+json; compatible-with=9"],
            b"application/vnd.elasticsearch+json;compatible-with=9",
        ),
        ([b"Content-Type: application/vnd.elasticsearch+json"], b"application/vnd.elasticsearch+json"),
        ([b"Accept: application/yaml"], b"application/json"),
        ([b"Accept: application/"], b"application/json"),
    ],
)
def test_the_type_is_what_the_client_calls_json(fields: list[bytes], content_type: bytes) -> None:
    lines, _ = split(answers.render(answers.malformed("x"), close=True, request=asked(*fields)))
    assert b"content-type: " + content_type in lines


def test_a_method_that_is_not_supported_is_answered_as_by_elasticsearchs_dispatcher() -> None:
    lines, body = split(answers.render(answers.method_not_supported("CONNECT"), close=True))
    assert lines[:2] == [b"HTTP/1.1 405 Method Not Allowed", b"X-elastic-product: Elasticsearch"]
    assert json.loads(body) == {"error": "Unexpected http method: CONNECT", "status": 405}


def test_too_long_a_body_is_answered_like_elasticsearch_without_one() -> None:
    lines, body = split(answers.render(answers.body_too_long(5), close=True))
    assert lines == [b"HTTP/1.1 413 Request Entity Too Large", b"content-length: 0", b"connection: close"]
    assert body == b""


def test_an_absent_application_may_be_asked_again_soon() -> None:
    target = UnixTarget(Path("/secret/app.sock"))
    for failure in (
        answers.unreachable(TargetError(ConnectionFault("x"), target)),
        answers.disconnected(target, "y"),
    ):
        lines, body = split(answers.render(failure, close=False))
        assert lines[0] == b"HTTP/1.1 503 Service Unavailable"
        assert b"Retry-After: 1" in lines
        assert json.loads(body)["error"]["type"] == "status_exception"
        assert b"/secret" not in body
