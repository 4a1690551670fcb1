"""Exchanges without a network, told as dialogues between a client, upstream and the application."""

from pathlib import Path

import pytest

from rerank_proxy.http.connection_faults import ConnectionFault
from rerank_proxy.upstream.connection import Owner, UpstreamConnection
from rerank_proxy.upstream.node import Node
from rerank_proxy.upstream.pool import Attempt, Pool, Waiter
from rerank_proxy.upstream.targets import TargetError, UnixTarget
from tests.support.memory_transport import MemoryTransport
from tests.unit.edge.test_relay import GET, OK, Relay, sized

BULK = b"POST /_bulk HTTP/1.1"
EXPECTING = BULK + b"\r\nExpect: 100-continue"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSING = b"HTTP/1.1 503 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"
PASS = b"HTTP/1.1 421 x\r\nx-rerank-proxy: pass\r\ncontent-length: 0\r\n\r\n"
RERANKED = sized(b'{"retriever":{"text_similarity_reranker":{}}}', b"POST /_search HTTP/1.1")
FUSED = sized(b'{"retriever":{"rrf":{}}}', b"POST /_search HTTP/1.1")
ABSENT = UnixTarget(Path("/absent"))
FAULT = TargetError(ConnectionFault("no connection"), ABSENT)


class ManualPool(Pool):
    """Makes new connections when the dialogue says so."""

    def __init__(self) -> None:
        super().__init__(ABSENT, connect_timeout_s=1, idle_timeout_s=60, max_idle=9)
        self.waiter: Waiter | None = None

    def connect(self, waiter: Waiter, first: Node | None = None, last: Owner | None = None) -> Attempt:
        self.waiter = waiter
        return Attempt(self, waiter)

    def abandoned(self, attempt: Attempt) -> None:
        self.waiter = None


class ManualRelay(Relay):
    @staticmethod
    def _pool() -> Pool:
        return ManualPool()


class Dialogue:
    """A client, upstream and the application, which all say and hear what the steps tell, in this order."""

    def __init__(self) -> None:
        self._relay = ManualRelay()
        self._pools = {"upstream": self._relay.shared.upstream, "application": self._relay.shared.app}
        self._connections = {"upstream": self._relay.upstream, "application": self._relay.app}
        self._transports = {"upstream": self._relay.at_upstream, "application": self._relay.at_app}

    def client(self, data: bytes) -> "Dialogue":
        self._relay.client.data_received(data)
        return self

    def client_leaves(self) -> "Dialogue":
        self._relay.client.connection_lost(None)
        return self

    def client_gets(self, data: bytes) -> "Dialogue":
        return self._heard(self._relay.at_client, data)

    def client_gets_error(self, status: int, behind: bytes = b"") -> "Dialogue":
        at_client = self._relay.at_client
        assert at_client.written.startswith(b"%bHTTP/1.1 %d " % (behind, status))
        at_client.written.clear()
        return self

    def client_is(self, state: str) -> "Dialogue":
        """`open`, `lingering` (it may finish sending) or `closed`."""
        at_client = self._relay.at_client
        found = "closed" if at_client.is_closing() else "lingering" if at_client.ended else "open"
        assert found == state
        return self

    def target(self, data: bytes, who: str = "upstream") -> "Dialogue":
        self._connections[who].data_received(data)
        return self

    def target_gets(self, data: bytes, who: str = "upstream") -> "Dialogue":
        return self._heard(self._transports[who], data)

    def target_closes(self, error: Exception | None = None, who: str = "upstream") -> "Dialogue":
        self._connections[who].connection_lost(error)
        return self

    def target_is(self, state: str, who: str = "upstream") -> "Dialogue":
        """`idle` (its connection is kept), `busy`, `closed`, or `awaited` (a new one is being made)."""
        pool, transport = self._pools[who], self._transports[who]
        assert isinstance(pool, ManualPool)
        found = "awaited" if pool.waiter else "closed" if transport.is_closing() else "busy"
        assert (found if not pool.idle else "idle") == state
        return self

    def target_connects(self, who: str = "upstream") -> "Dialogue":
        """Complete a new connection, which takes the place of the one before."""
        pool = self._pools[who]
        connection, transport = UpstreamConnection(pool.nodes[0]), MemoryTransport()
        connection.connection_made(transport)
        self._connections[who], self._transports[who] = connection, transport
        self._waiter(who).connected(connection)
        return self

    def target_is_absent(self, who: str = "upstream") -> "Dialogue":
        self._waiter(who).connect_failed(FAULT)
        return self

    def counted(self, kind: str, status: int) -> "Dialogue":
        registry = self._relay.shared.metrics.registry
        labels = {"kind": kind, "code": str(status)}
        assert registry.get_sample_value("rerank_proxy_requests_total", labels) == 1
        assert self._relay.shared.buffered == 0
        return self

    def without_idle_connection(self, who: str = "upstream") -> "Dialogue":
        self._pools[who].acquire()
        return self

    def _waiter(self, who: str) -> Waiter:
        pool = self._pools[who]
        assert isinstance(pool, ManualPool)
        waiter, pool.waiter = pool.waiter, None
        assert waiter is not None, "no connection is asked for"
        return waiter

    def _heard(self, transport: MemoryTransport, data: bytes) -> "Dialogue":
        assert bytes(transport.written) == data
        transport.written.clear()
        return self


class TestBothMessages:
    async def test_one_after_the_other(self) -> None:
        talk = Dialogue().client(GET).target_gets(GET).target(OK).client_gets(OK)
        talk.client_is("open").target_is("idle").counted("plain", 200)

    async def test_in_pieces(self) -> None:
        request, answer = sized(b"12345", BULK), sized(b"67890", b"HTTP/1.1 200 OK")
        talk = Dialogue()
        for piece in (request[:10], request[10:-3], request[-3:]):
            talk.client(piece)
        talk.target_gets(request)
        for piece in (answer[:10], answer[10:-3], answer[-3:]):
            talk.target(piece)
        talk.client_gets(answer).client_is("open").target_is("idle")

    async def test_a_new_connection_gets_what_came_meanwhile(self) -> None:
        request = sized(b"12345", BULK)
        talk = Dialogue().without_idle_connection().client(request[:-3]).target_is("awaited")
        talk.client(request[-3:]).target_connects().target_gets(request)
        talk.target(OK).client_gets(OK).target_is("idle")

    async def test_the_client_awaits_100_continue(self) -> None:
        request = sized(b"12345", EXPECTING)
        talk = Dialogue().client(request[:-5]).target_gets(request[:-5])
        talk.target(CONTINUE).client_gets(CONTINUE)
        talk.client(request[-5:]).target_gets(request[-5:])
        talk.target(OK).client_gets(OK).client_is("open").target_is("idle")

    async def test_an_answer_that_ends_with_its_connection(self) -> None:
        talk = Dialogue().client(GET).target_gets(GET).target(UNTIL_CLOSE + b"ab").target(b"cd")
        talk.client_gets(UNTIL_CLOSE[:-2] + b"connection: close\r\n\r\nabcd").client_is("open")
        talk.target_closes().client_is("lingering").counted("plain", 200)

    async def test_a_client_of_http_1_0_gets_no_chunks(self) -> None:
        talk = (
            Dialogue().client(b"GET / HTTP/1.0\r\n\r\n").target(CHUNKED + b"2\r\nab\r\n").target(b"0\r\n\r\n")
        )
        talk.client_gets(b"HTTP/1.1 200 OK\r\n\r\nab").client_is("closed").target_is("closed")


class TestEarlyAnswers:
    REQUEST = sized(b"12345", BULK)

    async def test_upstream_reads_on(self) -> None:
        talk = Dialogue().client(self.REQUEST[:-3]).target(OK).client_gets(OK)
        talk.client_is("open").target_is("busy")
        talk.client(self.REQUEST[-3:]).target_gets(self.REQUEST)
        talk.client_is("open").target_is("idle").counted("plain", 200)

    async def test_upstream_reads_no_further(self) -> None:
        talk = Dialogue().client(self.REQUEST[:-3]).target(CLOSING).client_gets(CLOSING)
        talk.client_is("lingering").target_is("closed").counted("plain", 503)

    async def test_the_request_ends_before_the_answer_does(self) -> None:
        talk = Dialogue().client(self.REQUEST[:-3]).target_gets(self.REQUEST[:-3])
        closing = b"HTTP/1.1 503 x\r\ncontent-length: 2\r\nconnection: close\r\n\r\n"
        talk.target(closing + b"a").client(self.REQUEST[-3:]).target_gets(b"")
        talk.target(b"b").client_gets(closing + b"ab").client_is("lingering").target_is("closed")

    async def test_in_place_of_100_continue(self) -> None:
        refusal = b"HTTP/1.1 417 x\r\ncontent-length: 0\r\n"
        talk = Dialogue().client(sized(b"12345", EXPECTING)[:-5]).target(refusal + b"\r\n")
        talk.client_gets(refusal + b"connection: close\r\n\r\n").client_is("lingering").target_is("closed")

    async def test_upstream_closes_after_its_answer(self) -> None:
        talk = Dialogue().client(self.REQUEST[:-3]).target(OK).client_gets(OK).target_closes()
        talk.client_is("lingering").counted("plain", 200)

    async def test_upstream_sends_more_than_its_answer(self) -> None:
        talk = Dialogue().client(self.REQUEST[:-3]).target(OK).target(b"more").client_gets(OK)
        talk.client(self.REQUEST[-3:]).client_is("open").target_is("closed").counted("plain", 200)

    async def test_the_edge_answers(self) -> None:
        talk = Dialogue().without_idle_connection().client(self.REQUEST[:-3]).target_is_absent()
        talk.client_gets_error(503).client_is("lingering")


class TestFaults:
    async def test_upstream_is_absent(self) -> None:
        talk = Dialogue().without_idle_connection().client(GET).target_is_absent()
        talk.client_gets_error(503).client_is("open").counted("plain", 503)

    async def test_a_kept_connection_was_closed(self) -> None:
        talk = Dialogue().client(GET).target_gets(GET).target_closes().target_is("awaited").client_gets(b"")
        talk.target_connects().target_gets(GET).target(OK).client_gets(OK).target_is("idle")

    async def test_the_second_try_is_the_last(self) -> None:
        talk = Dialogue().client(GET).target_closes().target_connects().target_gets(GET).target_closes()
        talk.client_gets_error(503).client_is("open").counted("plain", 503)

    @pytest.mark.parametrize(
        ("begun", "sent_on"), [(b"HTTP", b""), (CONTINUE, CONTINUE)], ids=["a byte", "an interim answer"]
    )
    async def test_no_second_try_once_the_answer_began(self, begun: bytes, sent_on: bytes) -> None:
        talk = Dialogue().client(GET).target(begun).target_closes()
        talk.client_gets_error(503, behind=sent_on).client_is("open").counted("plain", 503)

    async def test_an_answer_breaks_off(self) -> None:
        talk = Dialogue().client(GET).target(OK[:-1]).client_gets(OK[:-1]).target_closes()
        talk.client_is("closed").counted("plain", 200)

    async def test_an_answer_until_close_is_reset(self) -> None:
        talk = Dialogue().client(GET).target(UNTIL_CLOSE + b"ab").target_closes(ConnectionResetError())
        talk.client_is("closed").counted("plain", 200)

    async def test_a_malformed_answer_is_replaced(self) -> None:
        """Its head is not sent on before the framing behind it was read."""
        talk = Dialogue().client(GET).target(CHUNKED + b"x\r\n").client_gets_error(503)
        talk.client_is("open").target_is("closed").counted("plain", 503)

    async def test_a_part_of_it_was_sent_on(self) -> None:
        talk = Dialogue().client(GET).target(CHUNKED).client_gets(CHUNKED).target(b"x\r\n")
        talk.client_gets(b"").client_is("closed").target_is("closed").counted("plain", 200)


class TestMalformedRequests:
    HEAD = BULK + b"\r\nTransfer-Encoding: chunked\r\n\r\n"

    async def test_at_once(self) -> None:
        talk = Dialogue().client(self.HEAD + b"x\r\n").target_gets(b"").client_gets_error(400)
        talk.client_is("lingering").target_is("idle").counted("plain", 400)

    async def test_later(self) -> None:
        talk = Dialogue().client(self.HEAD).client(b"x\r\n").client_gets_error(400)
        talk.client_is("lingering").target_is("closed").counted("plain", 400)

    @pytest.mark.parametrize("answer", [OK, OK[:-1]], ids=["complete", "in part"])
    async def test_after_an_answer(self, answer: bytes) -> None:
        talk = Dialogue().client(self.HEAD).target(answer).client(b"x\r\n").client_gets(answer)
        talk.client_is("closed").target_is("closed").counted("plain", 200)


class TestApplication:
    WHO = "application"

    async def test_it_answers(self) -> None:
        talk = Dialogue().client(RERANKED).target_gets(RERANKED, self.WHO).target(OK, self.WHO)
        talk.client_gets(OK).target_is("idle", self.WHO).counted("rerank", 200)

    async def test_it_hands_the_request_back(self) -> None:
        talk = Dialogue().client(RERANKED).target(PASS, self.WHO).target_is("idle", self.WHO)
        talk.client_gets(b"").target_gets(RERANKED).target(OK).client_gets(OK).counted("search", 200)

    async def test_what_it_hands_back_may_be_sent_to_upstream_twice(self) -> None:
        talk = Dialogue().client(RERANKED).target(PASS, self.WHO).target_closes().target_connects()
        talk.target_gets(RERANKED).target(OK).client_gets(OK)

    async def test_nothing_is_sent_to_it_twice(self) -> None:
        talk = Dialogue().client(RERANKED).target_gets(RERANKED, self.WHO).target_closes(who=self.WHO)
        talk.client_gets_error(503).target_gets(b"").counted("rerank", 503)

    @pytest.mark.parametrize("fault", [CHUNKED + b"x\r\n", b"x\r\n\r\n"], ids=["body", "head"])
    async def test_it_can_be_done_without(self, fault: bytes) -> None:
        talk = Dialogue().client(FUSED).target_gets(FUSED, self.WHO).target(fault, self.WHO)
        talk.target_is("closed", self.WHO).target_gets(FUSED)
        talk.target(OK).client_gets(OK).target_is("idle").counted("search", 200)

    async def test_it_is_down_and_can_be_done_without(self) -> None:
        talk = Dialogue().without_idle_connection(self.WHO).client(FUSED).target_is_absent(self.WHO)
        talk.target_gets(FUSED).target(OK).client_gets(OK).counted("search", 200)


class TestTheClientLeaves:
    async def test_while_a_connection_is_made(self) -> None:
        talk = Dialogue().without_idle_connection().client(GET).target_is("awaited").client_leaves()
        talk.target_is("busy").counted("plain", 499)  # that which the test took away

    @pytest.mark.parametrize(
        ("answer", "status"), [(b"", 499), (CONTINUE, 499), (OK[:10], 499), (OK[:-1], 200)]
    )
    async def test_during_the_answer(self, answer: bytes, status: int) -> None:
        talk = Dialogue().client(GET).target(answer).client_leaves()
        talk.target_is("closed").counted("plain", status)

    async def test_during_the_request(self) -> None:
        talk = Dialogue().client(sized(b"12345", BULK)[:-3]).target(OK).client_leaves()
        talk.target_is("closed").counted("plain", 200)


TRY = PASS.replace(b": pass", b": try")
REFUSED = FUSED.replace(b"\r\n", b"\r\nx-rerank-proxy: refused\r\n", 1)
UNLICENSED = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno"


class TestRefusals:
    """Upstream may have lost the licence for what it had: the application wants to know."""

    def refused(self, answer: bytes = TRY) -> Dialogue:
        dialogue = Dialogue().client(FUSED).target_gets(FUSED, "application")
        dialogue.target(answer, "application").target_gets(FUSED)
        return dialogue.target(UNLICENSED)

    async def test_the_application_may_answer_after_all(self) -> None:
        dialogue = self.refused().client_gets(b"").target_gets(REFUSED, "application")
        dialogue.target(OK, "application").client_gets(OK).counted("rerank", 200)

    @pytest.mark.parametrize("name", [b"x-rerank-proxy", b"X-Rerank-Proxy", b"X-RERANK-PROXY-trace"])
    async def test_a_client_cannot_speak_for_the_edge(self, name: bytes) -> None:
        """The application would look for the licence again at each request."""
        forged = FUSED.replace(b"\r\n", b"\r\n%b: refused\r\n" % name, 1)
        talk = Dialogue().client(forged).target_gets(FUSED, "application")
        talk.target(PASS, "application").target_gets(FUSED)

    async def test_the_key_of_a_recording_stays_in_the_proxy(self) -> None:
        keyed = FUSED.replace(b"\r\n", b"\r\nX-Rerank-Record: KEY\r\n", 1)
        told = FUSED.replace(b"\r\n", b"\r\nx-rerank-record: KEY\r\n", 1)
        talk = Dialogue().client(keyed).target_gets(told, "application")
        talk.target(PASS, "application").target_gets(FUSED)

    async def test_nothing_of_the_proxys_own_goes_upstream_with_what_is_not_inspected(self) -> None:
        own = b"\r\nX-Rerank-Record: KEY\r\nx-rerank-proxy: refused\r\n"
        Dialogue().client(GET.replace(b"\r\n", own, 1)).target_gets(GET)

    async def test_it_is_asked_once(self) -> None:
        dialogue = self.refused().target_gets(REFUSED, "application").target(PASS, "application")
        dialogue.target_connects().target_gets(FUSED).target(UNLICENSED)
        dialogue.client_gets(UNLICENSED).counted("search", 403)

    async def test_it_is_asked_once_whatever_it_says(self) -> None:
        """No answer of the application's, and no header of the client's, makes both go on for ever."""
        dialogue = self.refused().target_gets(REFUSED, "application").target(TRY, "application")
        dialogue.target_connects().target_gets(FUSED).target(UNLICENSED)
        dialogue.client_gets(UNLICENSED).counted("search", 403)

    async def test_without_it_upstreams_refusal_stands(self) -> None:
        dialogue = self.refused().target_gets(REFUSED, "application")
        dialogue.target_closes(who="application").target_connects().target_gets(FUSED)
        dialogue.target(UNLICENSED).client_gets(UNLICENSED).counted("search", 403)

    async def test_other_answers_are_upstreams(self) -> None:
        dialogue = Dialogue().client(FUSED).target_gets(FUSED, "application")
        dialogue.target(TRY, "application").target_gets(FUSED)
        dialogue.target(OK).client_gets(OK).counted("search", 200)

    async def test_a_refusal_that_the_application_did_not_ask_for_is_passed_on(self) -> None:
        self.refused(PASS).client_gets(UNLICENSED).counted("search", 403)
