import json
from pathlib import Path

from rerank_proxy.edge import answers
from rerank_proxy.http.connection_faults import ConnectionFault
from rerank_proxy.settings import UpstreamSettings
from rerank_proxy.upstream.targets import TargetError, UnixTarget, node_targets


def split(answer: bytes) -> tuple[list[bytes], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.split(b"\r\n"), body


def test_shape() -> None:
    (target,) = node_targets(UpstreamSettings(url="http://es:9200"))
    failure = answers.unreachable(TargetError(ConnectionFault("connection refused"), target))
    lines, body = split(answers.render(failure, close=False, opaque_id=b"abc"))
    assert lines == [
        b"HTTP/1.1 502 Bad Gateway",
        b"X-Opaque-Id: abc",
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
    without = split(answers.render(answers.malformed("x"), close=True, head_only=True))
    assert without == (with_body[0], b"")
    assert b"connection: close" in without[0]


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
