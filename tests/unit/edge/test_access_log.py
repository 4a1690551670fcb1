"""The line about a request: however it ends, once, and with what went over the wire."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.edge.observed import ObservedConnection
from rerank_proxy.http import handover
from rerank_proxy.observe.access_log import AccessLog
from rerank_proxy.observe.log import form
from rerank_proxy.observe.log_lines import MAX_LINE
from rerank_proxy.settings import EdgeSettings, LogSettings
from tests.support.examples import examples
from tests.support.memory_transport import MemoryTransport
from tests.unit.edge.test_relay import GET, OK, Relay, sized

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
NAMED = (
    b"X-Request-ID: abc-1\r\nX-Opaque-Id: my app\r\ntraceparent: 00-%b-00f067aa0ba902b7-01\r\n"
    % TRACE.encode()
)
RERANK = sized(b'{"retriever":{"text_similarity_reranker":{}}}', b"POST /films/_search?q=1 HTTP/1.1")
RERANKED = (
    b"HTTP/1.1 200 OK\r\nx-rerank-proxy-times: upstream=0.010000,score=0.200000,own=0.001000\r\n"
    b"X-Rerank: applied; endpoint=e; model=m; window=3\r\ncontent-length: 2\r\n\r\n{}"
)


class Observed(Relay):
    """A relay whose connection tells its access log."""

    def __init__(self, *, edge: EdgeSettings | None = None, is_json: bool = True, **log: Any) -> None:
        super().__init__(edge)
        self.lines: list[str] = []
        self._is_json = is_json
        settings = LogSettings(**{"access": "all", **log})
        self.shared.access = AccessLog(settings, write=self._take, clock=lambda: 1.5)
        self.client.connection_lost(None)
        self.client = ObservedConnection(self.shared)
        self.at_client = MemoryTransport()
        self.client.connection_made(self.at_client)

    def _take(self, text: str) -> None:
        assert text.endswith("\n")
        assert text[:-1].isprintable()
        self.lines.append(text[:-1])

    def line(self) -> dict[str, Any]:
        """The one line that was written."""
        (line,) = self.lines
        self.lines.clear()
        read: dict[str, Any] = json.loads(line)
        return read


@pytest.fixture(autouse=True)
def as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "is_json", True)
    monkeypatch.setattr(form, "process", "edge-1")


def facts(line: dict[str, Any]) -> tuple[Any, ...]:
    """Status, kind, how it ended, and the type of its error."""
    own = line["rerank_proxy"]
    status = line["http"]["response"]["status_code"]
    return status, own["kind"], own.get("ended"), line.get("error", {}).get("type")


async def test_a_relayed_request() -> None:
    relay = Observed()
    request = b"GET /films/_doc/1?routing=secret&pretty HTTP/1.1\r\n%b\r\n" % NAMED
    relay.client.data_received(request)
    relay.upstream.data_received(OK)
    line = relay.line()
    assert facts(line) == (200, "plain", None, None)
    assert line["http"]["request"] == {"method": "GET", "id": "abc-1", "bytes": len(request)}
    assert line["http"]["response"]["bytes"] == len(OK)
    assert line["url"] == {"path": "/films/_doc/1", "query": "routing=*&pretty"}
    assert (line["trace"]["id"], line["rerank_proxy"]["opaque_id"]) == (TRACE, "my app")
    assert (line["event"]["dataset"], line["event"]["outcome"]) == ("rerank_proxy.access", "success")
    assert line["service"]["name"] == "rerank-proxy"
    assert line["process"]["name"] == "edge-1"
    assert line["@timestamp"] == "1970-01-01T00:00:01.500Z"
    assert line["message"] == "GET /films/_doc/1 200"


async def test_a_reranked_search_tells_where_its_time_went_and_clients_do_not_see_it() -> None:
    relay = Observed()
    relay.client.data_received(RERANK)
    (told,) = relay.at_app.request_ids
    relay.app.data_received(RERANKED)
    line = relay.line()
    own = line["rerank_proxy"]
    assert facts(line) == (200, "rerank", None, None)
    assert own["times"] == {"upstream": 0.01, "score": 0.2, "own": 0.001}
    assert own["outcome"] == "applied; endpoint=e; model=m; window=3"
    assert line["http"]["request"]["id"] == told.decode()
    assert handover.HEADER.encode() not in bytes(relay.at_client.written)
    assert relay.at_upstream.request_ids == []


@pytest.mark.parametrize(("told", "expected"), [(TRACE, TRACE), ("no id", None)])
async def test_the_application_tells_the_trace_that_it_records(told: str, expected: str | None) -> None:
    relay = Observed()
    relay.client.data_received(RERANK)
    trace = b"\r\n%b: %b\r\n" % (handover.TRACE.encode(), told.encode())
    relay.app.data_received(RERANKED.replace(b"\r\n", trace, 1))
    assert relay.line().get("trace", {}).get("id") == expected
    assert handover.HEADER.encode() not in bytes(relay.at_client.written)


async def test_the_application_learns_the_id_that_the_client_gave() -> None:
    relay = Observed()
    relay.client.data_received(RERANK.replace(b"\r\n", b"\r\nx-request-id: abc-1\r\n", 1))
    assert relay.at_app.request_ids == [b"abc-1"]
    relay.app.data_received(RERANKED)
    assert relay.line()["http"]["request"]["id"] == "abc-1"


@pytest.mark.parametrize("value", [b"", b"a b", b"a\xff", b'a"b', b"a" * 129, b"a;b"])
async def test_an_id_that_is_not_valid_is_replaced(value: bytes) -> None:
    relay = Observed()
    relay.client.data_received(RERANK.replace(b"\r\n", b"\r\nX-Request-ID: %b\r\n" % value, 1))
    (told,) = relay.at_app.request_ids
    assert told != value
    assert len(told) == 32


@pytest.mark.parametrize(
    "value",
    [
        b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01",
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        b"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        b"4bf92f3577b34da6a3ce929d0e0e4736",
    ],
)
async def test_a_trace_that_is_not_valid_is_left_out(value: bytes) -> None:
    relay = Observed()
    relay.client.data_received(b"GET / HTTP/1.1\r\ntraceparent: %b\r\n\r\n" % value)
    relay.upstream.data_received(OK)
    assert "trace" not in relay.line()


def _lost(relay: Relay) -> None:
    relay.client.data_received(GET)
    relay.client.connection_lost(None)


def _lost_in_the_answer(relay: Relay) -> None:
    relay.client.data_received(GET)
    relay.upstream.data_received(OK[:-1])
    relay.client.connection_lost(None)


def _cut(relay: Relay) -> None:
    relay.client.data_received(GET)
    relay.upstream.data_received(OK[:-1])
    relay.upstream.connection_lost(ConnectionResetError())


def _nothing(relay: Relay) -> None:
    relay.client.data_received(b"POST /films/_doc HTTP/1.1\r\n\r\n")
    relay.upstream.connection_lost(ConnectionResetError())


def _garbage(relay: Relay) -> None:
    relay.client.data_received(GET)
    relay.upstream.data_received(b"what?\r\n\r\n")


def _sent(data: bytes) -> Callable[[Relay], None]:
    return lambda relay: relay.client.data_received(data)


def _late(relay: Relay) -> None:
    relay.client.data_received(GET[:5])
    relay.client.give_up_waiting(relay.shared.loop.time() + 1)


def _left_before_its_body(relay: Relay) -> None:
    relay.client.data_received(RERANK[:-1])
    relay.client.connection_lost(None)


ENDS: list[tuple[Callable[[Relay], None], tuple[Any, ...]]] = [
    (_lost, (499, "plain", "left", None)),
    (_lost_in_the_answer, (200, "plain", "left", None)),
    (_cut, (200, "plain", "cut", None)),
    (_nothing, (503, "plain", None, "status_exception")),
    (_garbage, (503, "plain", None, "status_exception")),
    (_left_before_its_body, (499, "search", "left", None)),
    (_sent(b"GET / HTTP/9\r\n\r\n"), (400, "plain", None, "illegal_argument_exception")),
    (_sent(b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000), (400, "plain", None, "too_long_http_header_exception")),
    (_sent(b"CONNECT a:1 HTTP/1.1\r\n\r\n"), (405, "plain", None, "illegal_argument_exception")),
    (
        _sent(b"POST /_bulk HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"),
        (400, "plain", None, "illegal_argument_exception"),
    ),
    (_late, (408, "plain", None, "timeout_exception")),
]


@pytest.mark.parametrize(("end", "expected"), ENDS, ids=[end.__name__ for end, _ in ENDS])
async def test_however_it_ends_it_has_one_line_and_is_counted(
    end: Callable[[Relay], None], expected: tuple[Any, ...]
) -> None:
    relay = Observed()
    end(relay)
    line = relay.line()
    assert facts(line) == expected
    assert line["http"]["response"]["bytes"] == len(relay.at_client.written)
    labels = {"kind": expected[1], "code": str(expected[0])}
    registry = relay.shared.metrics.registry
    assert registry.get_sample_value("rerank_proxy_requests_total", labels) == 1
    assert registry.get_sample_value("rerank_proxy_request_seconds_count", labels) == 1


@pytest.mark.parametrize("head", [b"GET /x y HTTP/1.1\r\n\r\n", b"\x00\x01", b"GET /" + b"x" * 70_000])
@pytest.mark.parametrize("earlier", [0, 1])
async def test_a_head_that_cannot_be_read_counts_what_came_and_no_time(head: bytes, earlier: int) -> None:
    relay = Observed()
    if earlier:
        relay.client.data_received(GET)
        relay.upstream.data_received(OK)
        relay.lines.clear()
    began = relay.client.began
    relay.client.data_received(head)
    assert relay.client.began > began
    line = relay.line()
    assert facts(line)[:2] == (400, "plain")
    assert line["http"]["request"]["bytes"] == len(head)
    assert line["event"]["duration"] < 1e9


async def test_requests_of_one_connection_are_told_apart() -> None:
    relay = Observed()
    post = sized(b"x" * 100, b"POST /i/_doc HTTP/1.1")
    relay.client.data_received(GET + post + GET[:3])
    relay.upstream.data_received(OK)
    assert relay.line()["http"]["request"]["bytes"] == len(GET)
    relay.upstream.data_received(OK)
    assert relay.line()["http"]["request"]["bytes"] == len(post)
    relay.client.data_received(GET[3:])
    relay.upstream.data_received(OK)
    line = relay.line()
    assert (line["http"]["request"]["bytes"], line["http"]["response"]["bytes"]) == (len(GET), len(OK))


@pytest.mark.parametrize(("status", "has_line"), [(200, False), (404, False), (429, True), (503, True)])
async def test_with_errors_alone_what_the_client_did_wrong_has_no_line(status: int, has_line: bool) -> None:
    relay = Observed(access="errors")
    relay.client.data_received(GET)
    relay.upstream.data_received(OK.replace(b"200", b"%d" % status))
    assert bool(relay.lines) == has_line


async def test_slow_ones_count_as_errors_do() -> None:
    relay = Observed(access="errors", slow_info_s=1e-9, slow_warn_s=60)
    relay.client.data_received(GET)
    relay.upstream.data_received(OK)
    assert facts(relay.line())[0] == 200


async def test_paths_can_be_left_out() -> None:
    relay = Observed(access_exclude=["/", "/_cluster/*"])
    for path, has_line in ((b"/?pretty", False), (b"/_cluster/health", False), (b"/_cat", True)):
        relay.client.data_received(b"GET %b HTTP/1.1\r\n\r\n" % path)
        relay.upstream.data_received(OK)
        assert bool(relay.lines) == has_line
        relay.lines.clear()


async def test_a_share_of_what_is_all_right_is_drawn_by_the_trace_or_the_id() -> None:
    seen = []
    for _ in range(2):
        relay = Observed(access_sample=0.5)
        for number in range(200):
            relay.client.data_received(b"GET / HTTP/1.1\r\nX-Request-ID: %d\r\n\r\n" % number)
            relay.upstream.data_received(OK)
        seen.append([json.loads(line)["http"]["request"]["id"] for line in relay.lines])
    assert seen[0] == seen[1]
    assert 50 < len(seen[0]) < 150


async def test_the_log_can_be_switched_off_while_a_connection_is_open() -> None:
    relay = Observed()
    assert relay.shared.access is not None
    relay.shared.access.use(LogSettings(access="off"))
    relay.client.data_received(GET)
    relay.upstream.data_received(OK)
    assert relay.lines == []


VALUE = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0")).map(str.encode)


@given(st.binary(min_size=1, max_size=3000).map(lambda raw: bytes(b for b in raw if 0x21 <= b < 0x7F)), VALUE)
@examples(1)
async def test_whatever_a_client_sends_a_line_is_one_line(target: bytes, opaque: bytes) -> None:
    for is_json in (True, False):
        form.is_json = is_json
        relay = Observed()
        relay.client.data_received(b"GET /%b HTTP/1.1\r\nX-Opaque-Id: %b\r\n\r\n" % (target, opaque))
        if relay.at_upstream.written:
            relay.upstream.data_received(OK)
        (line,) = relay.lines
        assert len(line) <= 2 * MAX_LINE
        assert line.isprintable()
        if is_json:
            json.loads(line)
        else:
            assert line.split()[2:4] in (["INFO", "access:"], ["WARNING", "access:"])


async def test_lines_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "is_json", False)
    relay = Observed()
    relay.client.data_received(b'GET /a?b=c HTTP/1.1\r\nX-Request-ID: 1\r\nX-Opaque-Id: say "hi"\r\n\r\n')
    relay.upstream.data_received(OK)
    (line,) = relay.lines
    _, _, line = line.split(" ", 2)
    before, _, behind = line.partition(" time=")
    assert before == 'INFO access: - "GET /a?b=*" 200'
    assert behind.partition(" in=")[2] == '63 out=40 kind=plain id=1 opaque="say \\"hi\\""'


MARK = b"h0rse-battery"


@pytest.mark.parametrize("is_json", [True, False])
async def test_no_line_holds_what_is_secret(is_json: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "is_json", is_json)
    relay = Observed()
    lines = []
    for target in (
        b"/_search?q=%b&source={%b}",
        b"http://user:%b@host/x?y=%b",
        b"//user:%b@host/x?%%b=%b",
        b"/x#%b%b",
    ):
        filled = target.replace(b"%%b", b"y").replace(b"%b", MARK)
        relay = Observed()
        names = (b"Authorization", b"Cookie", b"es-secondary-authorization")
        head = b"\r\n".join(b"%b: ApiKey %b" % (name, MARK) for name in names)
        relay.client.data_received(sized(MARK, b"POST %b HTTP/1.1\r\n%b" % (filled, head)))
        relay.upstream.data_received(OK.replace(b"ok", MARK[:2]))
        lines += relay.lines
    assert len(lines) == 4
    assert not [line for line in lines if MARK.decode() in line]
