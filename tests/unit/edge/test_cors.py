"""What upstream says to an origin is asked of upstream, and said by every answer that it does not make."""

from collections.abc import Sequence

import pytest
from pydantic import ByteSize

from rerank_proxy.edge import cors
from rerank_proxy.edge.connection import ClientConnection
from rerank_proxy.settings import EdgeSettings
from rerank_proxy.upstream.connection import UpstreamConnection
from tests.support.memory_transport import MemoryTransport
from tests.support.waiting import until_true
from tests.unit.edge.test_relay import OK, Relay, sized

OURS = b'{"retriever":{"text_similarity_reranker":{}}}'
ORIGIN = b"http://app.example"
SEARCH = b"POST /films/_search HTTP/1.1\r\nHost: es:9200\r\nOrigin: " + ORIGIN
QUESTION = b"OPTIONS / HTTP/1.1\r\nHost: es:9200\r\nOrigin: " + ORIGIN + b"\r\n\r\n"
CONTROL = b"OPTIONS / HTTP/1.1\r\nHost: es:9200\r\n\r\n"
FIELDS = (
    b"access-control-allow-origin: " + ORIGIN + b"\r\n"
    b"vary: origin\r\n"
    b"Access-Control-Expose-Headers: X-elastic-product\r\n"
)
EXPOSED = FIELDS + b"access-control-expose-headers: X-Rerank\r\n"
ALLOWED = b"HTTP/1.1 200 OK\r\n" + FIELDS + b"Allow: GET\r\ncontent-length: 0\r\n\r\n"
NO_CORS = b"HTTP/1.1 200 OK\r\nvary: accept-encoding\r\nAllow: GET\r\ncontent-length: 0\r\n\r\n"
FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"
RERANKED = b"HTTP/1.1 200 OK\r\nX-Rerank: applied\r\ncontent-length: 2\r\n\r\n{}"


def search(head: bytes = SEARCH) -> bytes:
    return sized(OURS, head)


def taken(transport: MemoryTransport) -> bytes:
    """What was written since the last time."""
    written = bytes(transport.written)
    transport.written.clear()
    return written


def exchange(relay: Relay, answers: Sequence[bytes]) -> list[bytes]:
    """Send a search; upstream gives these answers in turn. Returns what it was sent."""
    relay.client.data_received(search())
    asked = []
    for answer in answers:
        asked.append(taken(relay.at_upstream))
        relay.upstream.data_received(answer)
    return asked


async def test_answers_of_the_application_carry_what_upstream_says() -> None:
    relay = Relay()
    assert exchange(relay, [ALLOWED]) == [QUESTION]
    assert taken(relay.at_app) == search()
    relay.app.data_received(RERANKED)
    head, _, body = taken(relay.at_client).partition(b"\r\n\r\n")
    assert head + b"\r\n" == RERANKED.partition(b"\r\n\r\n")[0] + b"\r\n" + EXPOSED
    assert body == b"{}"
    assert relay.shared.upstream.idle == 1


async def test_scripts_may_read_the_id_of_a_search_that_has_one() -> None:
    relay = Relay()
    exchange(relay, [ALLOWED])
    relay.app.data_received(RERANKED.replace(b"applied", b"applied\r\nX-Rerank-Search: id"))
    told = taken(relay.at_client)
    assert b"\r\naccess-control-expose-headers: X-Rerank, X-Rerank-Search\r\n" in told


async def test_its_errors_too_which_have_no_header_of_ours() -> None:
    relay = Relay()
    exchange(relay, [ALLOWED])
    relay.app.data_received(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}")
    expected = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n" + FIELDS + b"\r\n{}"
    assert taken(relay.at_client) == expected


async def test_upstream_is_asked_once_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    relay = Relay()
    exchange(relay, [ALLOWED])
    relay.app.data_received(OK)
    for _ in range(2):
        assert exchange(relay, []) == []
        assert not relay.at_upstream.written
        relay.app.data_received(OK)
    monkeypatch.setattr(cors, "VALID_S", -1)
    relay = Relay()
    for answer in (ALLOWED, NO_CORS):
        assert exchange(relay, [answer]) == [QUESTION]
        taken(relay.at_client)
        relay.app.data_received(OK)
    assert taken(relay.at_client) == OK


async def test_those_who_come_meanwhile_wait_for_the_same_answer() -> None:
    relay = Relay()
    relay.client.data_received(search())
    second = ClientConnection(relay.shared)
    second.connection_made(MemoryTransport())
    second.data_received(search())
    assert taken(relay.at_upstream) == QUESTION
    assert not relay.at_app.written
    app, at_app = UpstreamConnection(relay.shared.app.nodes[0]), MemoryTransport()
    app.connection_made(at_app)
    app.owner.release(app)
    relay.upstream.data_received(ALLOWED)
    assert taken(relay.at_app) == taken(at_app) == search()


@pytest.mark.parametrize(
    "other",
    [
        SEARCH.replace(ORIGIN, b"http://other"),
        SEARCH.replace(b"es:9200", b"other:9200"),
        SEARCH.replace(b"Host: es:9200\r\n", b""),
    ],
)
async def test_each_origin_and_host_is_asked_about(other: bytes) -> None:
    relay = Relay()
    exchange(relay, [ALLOWED])
    relay.app.data_received(OK)
    relay.client.data_received(search(other))
    host = other.partition(b"Host: ")[2].partition(b"\r\n")[0]
    origin = other.partition(b"Origin: ")[2]
    expected = b"OPTIONS / HTTP/1.1\r\nHost: %b\r\nOrigin: %b\r\n\r\n" % (host, origin)
    assert taken(relay.at_upstream) == expected


async def test_what_upstream_refuses_it_refuses_itself() -> None:
    relay = Relay()
    assert exchange(relay, [FORBIDDEN, NO_CORS]) == [QUESTION, CONTROL]
    assert taken(relay.at_upstream) == search()
    assert not relay.at_app.written
    relay.upstream.data_received(FORBIDDEN)
    assert taken(relay.at_client) == FORBIDDEN


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        ([NO_CORS], [QUESTION]),
        ([FORBIDDEN, FORBIDDEN], [QUESTION, CONTROL]),
        ([b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n"], [QUESTION]),
    ],
)
async def test_without_cors_nothing_is_added(answers: list[bytes], asked: list[bytes]) -> None:
    """A gateway may refuse the question for other reasons."""
    relay = Relay()
    assert exchange(relay, answers) == asked
    assert taken(relay.at_app) == search()
    relay.app.data_received(RERANKED)
    assert taken(relay.at_client) == RERANKED


@pytest.mark.parametrize("what", ["garbage", "lost", "head", "interim"])
async def test_what_is_not_an_answer_keeps_no_client_waiting(what: str) -> None:
    relay = Relay()
    relay.client.data_received(search())
    assert taken(relay.at_upstream) == QUESTION
    if what == "lost":
        relay.upstream.reused = False
        relay.upstream.connection_lost(None)
    elif what == "head":
        relay.upstream.data_received(b"HTTP/1.1 200 OK\r\na: " + b"b" * 70_000)
    elif what == "interim":
        for _ in range(2000):
            if not relay.at_app.written:
                relay.upstream.data_received(b"HTTP/1.1 103 Early Hints\r\nLink: aaaaaaaa\r\n\r\n")
    else:
        relay.upstream.data_received(b"SSH-2.0\r\n\r\n")
    assert taken(relay.at_app) == search()
    relay.app.data_received(RERANKED)
    assert taken(relay.at_client) == RERANKED


async def test_the_last_answer_stands_where_no_other_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cors, "VALID_S", -1)
    relay = Relay()
    exchange(relay, [ALLOWED])
    relay.app.data_received(OK)
    taken(relay.at_client)
    assert exchange(relay, [b"SSH-2.0\r\n\r\n"]) == [QUESTION]
    relay.app.data_received(RERANKED)
    assert EXPOSED in taken(relay.at_client)


async def test_a_silent_upstream_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cors, "ANSWER_S", 0)
    relay = Relay()
    relay.client.data_received(search())
    await until_true(lambda: bool(relay.at_app.written))
    assert taken(relay.at_app) == search()


async def test_a_client_that_leaves_meanwhile_is_not_answered() -> None:
    relay = Relay()
    relay.client.data_received(search())
    relay.client.connection_lost(None)
    relay.upstream.data_received(ALLOWED)
    assert not relay.at_app.written
    assert relay.shared.buffered == 0


async def test_what_the_edge_refuses() -> None:
    relay = Relay(EdgeSettings(max_buffered=ByteSize(10)))
    relay.client.data_received(search())
    assert not relay.at_client.written
    relay.client.data_received(b" " * 10)  # whatever still comes
    relay.upstream.data_received(ALLOWED)
    head, _, _ = taken(relay.at_client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 429 ")
    assert (head + b"\r\n").endswith(FIELDS)


async def test_a_refused_client_that_leaves_meanwhile() -> None:
    relay = Relay(EdgeSettings(max_buffered=ByteSize(10)))
    relay.client.data_received(search())
    relay.client.connection_lost(None)
    relay.upstream.data_received(ALLOWED)
    assert not relay.at_client.written


async def test_what_the_edge_refuses_of_a_refused_origin() -> None:
    relay = Relay(EdgeSettings(max_buffered=ByteSize(10)))
    exchange(relay, [FORBIDDEN, NO_CORS])
    assert taken(relay.at_client) == FORBIDDEN.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")


async def test_what_goes_wrong_with_a_plain_request() -> None:
    """Upstream cannot be asked then, but may have been."""
    relay = Relay()
    exchange(relay, [ALLOWED])
    relay.app.data_received(OK)
    taken(relay.at_client)
    relay.client.data_received(b"POST /i/_doc HTTP/1.1\r\nHost: es:9200\r\nOrigin: " + ORIGIN + b"\r\n\r\n")
    relay.upstream.connection_lost(None)
    head, _, _ = taken(relay.at_client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 50")
    assert (head + b"\r\n").endswith(FIELDS)


@pytest.mark.parametrize(
    "line", [b"Origin:", b"Origin:  ", b"X: 1", b"Origin: http://" + b"a" * cors.MAX_ORIGIN]
)
async def test_nothing_is_asked_about_no_origin(line: bytes) -> None:
    relay = Relay()
    sent = search(b"POST /films/_search HTTP/1.1\r\nHost: es:9200\r\n" + line)
    relay.client.data_received(sent)
    assert not relay.at_upstream.written
    assert taken(relay.at_app) == sent
    relay.app.data_received(RERANKED)
    assert taken(relay.at_client) == RERANKED


async def test_what_goes_upstream_needs_no_question() -> None:
    relay = Relay()
    sent = sized(b'{"query":{}}', SEARCH)
    relay.client.data_received(sent)
    assert taken(relay.at_upstream) == sent
    relay.upstream.data_received(ALLOWED)
    assert taken(relay.at_client) == ALLOWED


async def test_preflights_are_upstreams() -> None:
    relay = Relay()
    preflight = (
        b"OPTIONS /films/_search HTTP/1.1\r\nHost: es:9200\r\nOrigin: " + ORIGIN + b"\r\n"
        b"Access-Control-Request-Method: POST\r\n\r\n"
    )
    relay.client.data_received(preflight)
    assert taken(relay.at_upstream) == preflight


async def test_so_many_origins_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cors, "MAX_KEPT", 3)
    relay = Relay()
    asked = []
    for number in (1, 2, 3, 4, 4, 2, 1):
        relay.client.data_received(search(SEARCH.replace(ORIGIN, b"http://%d" % number)))
        asked.append(bool(relay.at_upstream.written))
        if taken(relay.at_upstream):
            relay.upstream.data_received(NO_CORS)
        relay.app.data_received(OK)
    assert asked == [True, True, True, True, False, False, True]
