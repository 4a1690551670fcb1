"""How messages end, wait and follow each other on a connection."""

import asyncio
import json

import pytest

from tests.edge.conftest import StartRelay
from tests.edge.samples import GET
from tests.support.raw_http import OK, TIMEOUT_S, Message, Wire, answering

PLAIN = b"GET /%d HTTP/1.1\r\n\r\n"


def numbered(number: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n%d" % number


class TestKeepAlive:
    async def test_both_connections_are_kept(self, start_relay: StartRelay) -> None:
        serve, _ = answering(OK)
        relay = await start_relay(serve)
        client = await relay.connect()
        for _ in range(3):
            await client.send(PLAIN % 1)
            assert (await client.read_message()).raw == OK
        assert len(relay.upstream.wires) == 1

    async def test_client_that_wants_to_close_is_closed_and_upstreams_connection_kept(
        self, start_relay: StartRelay
    ) -> None:
        serve, requests = answering(OK)
        relay = await start_relay(serve)
        for _ in range(2):
            client = await relay.connect()
            await client.send(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
            assert await client.read_to_end() == OK
        assert requests[1].raw == b"GET / HTTP/1.1\r\n\r\n"
        assert len(relay.upstream.wires) == 1

    async def test_upstream_that_closes_leaves_the_clients_connection_alone(
        self, start_relay: StartRelay
    ) -> None:
        async def serve(wire: Wire) -> None:
            await wire.read_message()
            await wire.send(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")

        relay = await start_relay(serve)
        client = await relay.connect()
        for _ in range(2):
            await client.send(PLAIN % 1)
            assert (await client.read_message()).raw == OK
        assert len(relay.upstream.wires) == 2

    async def test_upstream_that_refused_a_head_is_asked_nothing_more(self, start_relay: StartRelay) -> None:
        """Elasticsearch keeps such a connection open, and reads nothing more."""

        async def serve(wire: Wire) -> None:
            request = await wire.read_message()
            if b"X-Long" not in request.head:
                await wire.send(OK)
                return
            await wire.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}")
            await wire.ended()

        relay = await start_relay(serve)
        client = await relay.connect()
        await client.send(b"GET / HTTP/1.1\r\nX-Long: x\r\n\r\n")
        assert (await client.read_message()).status == 400
        for asking in (client, await relay.connect()):
            await asking.send(b"GET / HTTP/1.1\r\n\r\n")
            assert (await asking.read_message()).raw == OK

    async def test_answer_until_close(self, start_relay: StartRelay) -> None:
        async def serve(wire: Wire) -> None:
            await wire.read_message()
            await wire.send(b"HTTP/1.1 200 OK\r\nX: 1\r\n\r\nabc", b"def")

        client = await (await start_relay(serve)).connect()
        await client.send(PLAIN % 1)
        assert await client.read_to_end() == b"HTTP/1.1 200 OK\r\nX: 1\r\nconnection: close\r\n\r\nabcdef"

    async def test_more_than_was_announced_never_reaches_another_request(
        self, start_relay: StartRelay
    ) -> None:
        async def serve(wire: Wire) -> None:
            await wire.read_message()
            await wire.send(OK + b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")
            await wire.ended()

        client = await (await start_relay(serve)).connect()
        for _ in range(2):
            await client.send(PLAIN % 1)
            assert (await client.read_message()).raw == OK


class TestHttp10:
    async def test_is_answered_and_closed(self, start_relay: StartRelay) -> None:
        serve, requests = answering(OK)
        client = await (await start_relay(serve)).connect()
        await client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert await client.read_to_end() == OK
        assert requests[0].raw == b"GET / HTTP/1.0\r\n\r\n"

    async def test_never_gets_chunks(self, start_relay: StartRelay) -> None:
        async def serve(wire: Wire) -> None:
            await wire.read_message()
            await wire.send(
                b"HTTP/1.0 200 OK\r\nA: 1\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{",
                b"}\r\n1\r\n\n\r\n0\r\n\r\n",
            )
            await wire.ended()

        client = await (await start_relay(serve)).connect()
        await client.send(b"GET /_cat HTTP/1.0\r\n\r\n")
        assert await client.read_to_end() == b"HTTP/1.0 200 OK\r\nA: 1\r\n\r\n{}\n"

    async def test_gets_no_interim_answers(self, start_relay: StartRelay) -> None:
        serve, _ = answering(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK)
        client = await (await start_relay(serve)).connect()
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await client.read_to_end()).startswith(b"HTTP/1.1 200 OK\r\n")

    async def test_answer_in_http10_ends_the_connection(self, start_relay: StartRelay) -> None:
        """Elasticsearch answers a request line that is too long in this way; its reader expects the end."""
        serve, _ = answering(b"HTTP/1.0 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}")
        client = await (await start_relay(serve)).connect()
        await client.send(PLAIN % 1)
        answer = b"HTTP/1.0 400 Bad Request\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"
        assert await client.read_to_end() == answer


class TestPipelining:
    async def test_answers_keep_the_order_one_at_a_time(self, start_relay: StartRelay) -> None:
        under_way = 0

        async def serve(wire: Wire) -> None:
            nonlocal under_way
            while True:
                request = await wire.read_message()
                under_way += 1
                assert under_way == 1
                number = int(request.first_line.split(b" ")[1][1:])
                under_way -= 1
                await wire.send(numbered(number))

        client = await (await start_relay(serve)).connect()
        await client.send(b"".join(PLAIN % number for number in range(9)))
        for number in range(9):
            assert (await client.read_message()).body == b"%d" % number

    async def test_requests_with_bodies_are_told_apart(self, start_relay: StartRelay) -> None:
        serve, requests = answering(OK)
        client = await (await start_relay(serve)).connect()
        sent = [
            b"POST /_bulk HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc",
            b"POST /i/_search HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"POST /_bulk HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nT: 1\r\n\r\n",
            b"POST /i/_search HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}",
        ]
        await client.send(b"".join(sent))
        for _ in sent:
            assert (await client.read_message()).raw == OK
        assert [request.raw for request in requests] == sent

    async def test_empty_lines_between_requests_are_skipped(self, start_relay: StartRelay) -> None:
        serve, requests = answering(OK)
        client = await (await start_relay(serve)).connect()
        await client.send(b"\r\n\r\n" + PLAIN % 1 + b"\r\n" + PLAIN % 2)
        for _ in range(2):
            await client.read_message()
        assert [request.raw for request in requests] == [PLAIN % 1, PLAIN % 2]

    async def test_many_that_the_edge_answers_itself(self, start_relay: StartRelay) -> None:
        serve, _ = answering(OK)
        body = b'{"text_similarity_reranker":0}'
        search = b"POST /_search HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        client = await (await start_relay(serve)).connect()
        sending = asyncio.create_task(client.send(search * 2000))
        for _ in range(2000):
            assert (await client.read_message()).status == 503
        await sending


class TestExpect:
    ASKED = b"PUT /i/_doc/1 HTTP/1.1\r\nExpect: 100-continue\r\ncontent-length: 2\r\n\r\n"

    async def test_upstreams_continue_is_relayed(self, start_relay: StartRelay) -> None:
        requests: list[Message] = []

        async def serve(wire: Wire) -> None:
            head = await wire.read_head()
            await wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            requests.append(Message(head, await wire.read(2)))
            await wire.send(OK)

        client = await (await start_relay(serve)).connect()
        await client.send(self.ASKED)
        assert await client.read_head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"{}")
        assert (await client.read_message()).raw == OK
        assert requests[0].raw == self.ASKED + b"{}"

    @pytest.mark.parametrize("expectation", [b"100-continue", b"tea"])
    @pytest.mark.parametrize("path", [b"/i/_doc/1", b"/i/_bulk"])
    async def test_upstreams_refusal_is_relayed_and_ends_the_connection(
        self, start_relay: StartRelay, expectation: bytes, path: bytes
    ) -> None:
        async def serve(wire: Wire) -> None:
            await wire.read_head()
            await wire.send(
                b"HTTP/1.1 417 Expectation Failed\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
            await wire.ended()

        client = await (await start_relay(serve)).connect()
        await client.send(b"PUT %b HTTP/1.1\r\nExpect: %b\r\ncontent-length: 2\r\n\r\n" % (path, expectation))
        answer = b"HTTP/1.1 417 Expectation Failed\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        assert await client.read_to_end() == answer

    async def test_refusal_that_keeps_upstreams_connection_still_ends_the_clients(
        self, start_relay: StartRelay
    ) -> None:
        """Whether the body follows is not known: the next bytes could be taken for a request."""

        async def serve(wire: Wire) -> None:
            await wire.read_head()
            await wire.send(b"HTTP/1.1 401 x\r\ncontent-length: 0\r\n\r\n")
            assert await wire.ended()

        client = await (await start_relay(serve)).connect()
        await client.send(self.ASKED)
        assert (
            await client.read_to_end() == b"HTTP/1.1 401 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )

    @pytest.mark.parametrize("expectation", [b"100-continue", b"tea"])
    @pytest.mark.parametrize("framing", [b"content-length: %d", b"transfer-encoding: chunked"])
    async def test_a_body_that_upstream_takes_for_a_request_is_answered_to_no_client(
        self, start_relay: StartRelay, expectation: bytes, framing: bytes
    ) -> None:
        """Elasticsearch 8 refuses an expectation as if the request had no body, and keeps its connection."""

        async def serve(wire: Wire) -> None:
            smuggled = b""
            while True:
                head = await wire.read_head()
                if b"Expect" in head:
                    await wire.send(b"HTTP/1.1 417 x\r\ncontent-length: 0\r\n\r\n")
                elif b"/smuggled" in head:  # is answered late, when another request is there
                    smuggled = b"HTTP/1.1 200 smuggled\r\ncontent-length: 0\r\n\r\n"
                else:
                    await wire.send(smuggled + OK)

        relay = await start_relay(serve)
        refused, other = await relay.connect(), await relay.connect()
        body = b"GET /smuggled HTTP/1.1\r\n\r\n"
        sized = framing % len(body) if b"%" in framing else framing
        sent = b"PUT /i/_doc/1 HTTP/1.1\r\nExpect: %b\r\n%b\r\n\r\n" % (expectation, sized)
        chunks = body if b"%" in framing else b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        await refused.send(sent + chunks)
        assert (await refused.read_message()).status == 417
        for client in (refused, other):
            await client.send(GET)
            assert (await client.read_message()).raw == OK
        assert len(relay.upstream.wires) == 2

    async def test_another_interim_answer_does_not_tell_the_client_to_send(
        self, start_relay: StartRelay
    ) -> None:
        async def serve(wire: Wire) -> None:
            await wire.read_head()
            await wire.send(b"HTTP/1.1 103 x\r\n\r\nHTTP/1.1 401 x\r\ncontent-length: 0\r\n\r\n")
            assert await wire.ended()

        client = await (await start_relay(serve)).connect()
        await client.send(self.ASKED)
        assert (await client.read_message()).status == 103
        assert (
            await client.read_to_end() == b"HTTP/1.1 401 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )

    async def test_other_expectation_on_a_search_is_upstreams_to_answer(
        self, start_relay: StartRelay
    ) -> None:
        async def serve(wire: Wire) -> None:
            head = await wire.read_head()
            assert b"\r\nExpect: tea\r\n" in head
            await wire.send(b"HTTP/1.1 417 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await wire.ended()

        client = await (await start_relay(serve)).connect()
        await client.send(b"POST /_search HTTP/1.1\r\nExpect: tea\r\ncontent-length: 2\r\n\r\n")
        assert (await client.read_message()).status == 417

    async def test_search_is_continued_by_the_edge_and_upstream_never_asked(
        self, start_relay: StartRelay
    ) -> None:
        serve, requests = answering(OK)
        client = await (await start_relay(serve)).connect()
        await client.send(
            b"POST /_search HTTP/1.1\r\nA: 1\r\nExpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
        )
        assert await client.read_head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"{}")
        assert (await client.read_message()).raw == OK
        assert requests[0].raw == b"POST /_search HTTP/1.1\r\nA: 1\r\ncontent-length: 2\r\n\r\n{}"

    async def test_search_is_not_continued_twice(self, start_relay: StartRelay) -> None:
        serve, _ = answering(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
        client = await (await start_relay(serve)).connect()
        await client.send(b"POST /_search HTTP/1.1\r\nExpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        assert await client.read_head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"{}")
        assert (await client.read_message()).raw == OK

    async def test_search_whose_body_is_here_is_not_continued(self, start_relay: StartRelay) -> None:
        serve, _ = answering(OK)
        client = await (await start_relay(serve)).connect()
        await client.send(b"POST /_search HTTP/1.1\r\nExpect: 100-continue\r\ncontent-length: 2\r\n\r\n{}")
        assert (await client.read_message()).raw == OK


async def test_interim_answers_are_relayed(start_relay: StartRelay) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    serve, _ = answering(early + early + OK)
    client = await (await start_relay(serve)).connect()
    await client.send(PLAIN % 1)
    assert await client.read(len(early + early + OK)) == early + early + OK


class TestEarlyAnswers:
    """Upstream answers before it got the whole request."""

    HEAD = b"POST /_bulk HTTP/1.1\r\ncontent-length: 8000000\r\n\r\n"

    async def test_that_closes_is_read_in_full_by_a_client_that_sends_on(
        self, start_relay: StartRelay
    ) -> None:
        answer = b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"

        async def serve(wire: Wire) -> None:
            await wire.read_head()
            await wire.send(answer)
            await wire.ended()

        client = await (await start_relay(serve)).connect()
        sending = asyncio.create_task(client.send(self.HEAD, *[b"x" * 100_000] * 80))
        assert await client.read_to_end() == answer
        await sending

    async def test_that_keeps_the_connection_lets_the_rest_pass(self, start_relay: StartRelay) -> None:
        answered = asyncio.Event()

        async def serve(wire: Wire) -> None:
            await wire.read_head()
            await wire.send(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")
            assert len(await wire.read(8_000_000)) == 8_000_000
            answered.set()
            assert (await wire.read_message()).first_line == b"GET /1 HTTP/1.1"
            await wire.send(OK)

        client = await (await start_relay(serve)).connect()
        await client.send(self.HEAD)
        assert (await client.read_message()).raw == b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"
        await client.send(*[b"x" * 100_000] * 80, PLAIN % 1)
        assert (await client.read_message()).raw == OK
        assert answered.is_set()

    async def test_that_ends_with_upstreams_connection(self, start_relay: StartRelay) -> None:
        async def serve(wire: Wire) -> None:
            await wire.read_head()
            await wire.send(b"HTTP/1.1 503 x\r\ncontent-length: 2\r\n\r\nno")

        client = await (await start_relay(serve)).connect()
        await client.send(self.HEAD, b"x")
        assert await client.read_to_end() == b"HTTP/1.1 503 x\r\ncontent-length: 2\r\n\r\nno"


class TestRefused:
    """What the edge answers because it cannot tell where the request ends."""

    @pytest.mark.parametrize(
        "sent",
        [
            b"NONSENSE\r\n\r\n",
            b"GET / HTTP/1.1\nHost: h\n\n",
            b"GET / HTTP/1.1\r\nA: 1\r\n b\r\n\r\n",
            b"GET / HTTP/1.1\r\nSecret : value\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"POST /_bulk HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"POST /_bulk HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx",
            b"POST /_search HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ],
    )
    async def test_malformed(self, start_relay: StartRelay, sent: bytes) -> None:
        serve, requests = answering(OK)
        client = await (await start_relay(serve)).connect()
        await client.send(sent)
        answer = await client.read_message()
        assert answer.status == 400
        assert answer.field("content-type") == "application/json"
        assert answer.field("connection") == "close"
        error = json.loads(answer.body)
        assert error["status"] == 400
        assert (
            error["error"]["type"] == error["error"]["root_cause"][0]["type"] == "illegal_argument_exception"
        )
        assert b"Secret" not in answer.body
        assert await client.read_to_end() == b""
        assert requests == []

    async def test_bad_chunk_in_the_middle_of_a_streamed_body(self, start_relay: StartRelay) -> None:
        started = asyncio.Event()

        async def serve(wire: Wire) -> None:
            await wire.read_head()
            started.set()
            await wire.ended()

        client = await (await start_relay(serve)).connect()
        await client.send(b"POST /_bulk HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await asyncio.wait_for(started.wait(), TIMEOUT_S)
        await client.send(b"5\r\nhello!!")
        assert (await client.read_message()).status == 400

    @pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
    async def test_head_of_a_megabyte(self, start_relay: StartRelay, end: bytes) -> None:
        serve, requests = answering(OK)
        client = await (await start_relay(serve)).connect()
        await client.send(b"GET / HTTP/1.1\r\nAuthorization: Bearer " + b"s3cret" * 170_000 + end)
        answer = await client.read_message()
        assert json.loads(answer.body)["error"]["type"] == "too_long_http_header_exception"
        assert b"s3cret" not in answer.raw
        assert await client.read_to_end() == b""
        assert requests == []

    async def test_head_up_to_the_limit_passes(self, start_relay: StartRelay) -> None:
        serve, requests = answering(OK)
        relay = await start_relay(serve, {"edge": {"max_head": 1000}})
        head = b"GET / HTTP/1.1\r\nA: %b\r\n\r\n"
        for size, status in ((1000, 200), (1001, 400)):
            client = await relay.connect()
            await client.send(head % (b"x" * (size - len(head) + 2)))
            assert (await client.read_message()).status == status
        assert len(requests) == 1

    async def test_connect(self, start_relay: StartRelay) -> None:
        serve, _ = answering(OK)
        client = await (await start_relay(serve)).connect()
        await client.send(b"CONNECT h:1 HTTP/1.1\r\n\r\n")
        assert (await client.read_message()).status == 405

    async def test_other_transfer_codings(self, start_relay: StartRelay) -> None:
        serve, _ = answering(OK)
        client = await (await start_relay(serve)).connect()
        await client.send(b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n")
        assert (await client.read_message()).status == 501
