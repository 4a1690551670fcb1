"""Faults between the proxy and a real Elasticsearch, at each step of each kind of request.

Whatever happens, the client gets what it would have got directly, or one error in Elasticsearch's shape, or
sees that its answer is cut short. Nothing is done twice, and nothing stays behind.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rerank_proxy.edge.server import Edge
from rerank_proxy.search.own_points_in_time import OwnPointsInTime
from testbed import RunningElasticsearch, Server
from tests.live.conftest import MakeIndex
from tests.support.fault_hop import Fault, FaultHop, fault_hop
from tests.support.left_behind import LeftBehind, records_without_objects
from tests.support.proxied import proxied_parts
from tests.support.raw_http import TIMEOUT_S, Message, connect
from tests.support.search_app import TWO_STAGES
from tests.support.searches import reranking
from tests.support.templates import with_templates

BEFORE_AN_ANSWER = (
    Fault("request", "the head", "reset"),
    Fault("request", "all", "end"),
    Fault("answer", "none", "reset"),
    Fault("answer", "none", "end"),
)
"""The connection is lost before a byte of an answer: what reads is sent again where it was a kept one."""
BROKEN = (
    Fault("answer", "none", "garbage"),
    Fault("answer", "within the head", "reset"),
    Fault("answer", "within the head", "end"),
)
"""There is no answer, but something came: nothing is sent again."""
CUT_SHORT = (
    Fault("answer", "the head", "reset"),
    Fault("answer", "the head", "end"),
    Fault("answer", "within the body", "reset"),
    Fault("answer", "all but a byte", "end"),
    Fault("answer", "within the body", "garbage"),
)
"""A plain answer has begun by then. Of that of a search evaluated here, the client has nothing yet."""
HARMLESS = (
    Fault("answer", "none", "trickle"),
    Fault("answer", "all", "end"),
    Fault("answer", "all", "reset"),
)
"""All of the answer comes."""
EACH = (*BEFORE_AN_ANSWER, *BROKEN, *CUT_SHORT, *HARMLESS)
STALLS = (
    Fault("request", "all", "stall"),
    Fault("answer", "within the head", "stall"),
    Fault("answer", "within the body", "stall"),
)


@dataclass
class Proxied:
    """An edge and an application behind the faults."""

    edge: Edge
    hop: FaultHop
    left: LeftBehind
    server: Server

    async def ask(self, request: bytes) -> Message | None:
        """Return the answer on a new connection; None when it is cut short."""
        async with connect(self.edge.address.port) as client:
            await client.send(request)
            try:
                return await client.read_message()
            except (asyncio.IncompleteReadError, ConnectionError):
                return None

    async def settled(self) -> None:
        """Wait until nothing is held here that was not before, and close what no proxy can close.

        That is a point in time whose id was lost with the answer to its opening.
        """
        await self.left.settled()
        struck = self.hop.struck
        if struck is not None and struck.call.startswith("POST ") and struck.call.endswith("/_pit"):
            for opened in self.hop.points_in_time():
                self.server.call("DELETE", "/_pit", {"id": opened})


@asynccontextmanager
async def faulty(
    elasticsearch: RunningElasticsearch, url: str, directory: Path, **search: Any
) -> AsyncIterator[Proxied]:
    """Serve in front of Elasticsearch; fails the test when something is left behind.

    Args:
        url: Where the hop finds it.
        search: Settings of that section.
    """
    async with (
        fault_hop(url) as hop,
        proxied_parts(hop.url, directory, points_in_time=OwnPointsInTime((0.01,)), **search) as (edge, _),
    ):
        left = await LeftBehind(elasticsearch.server).begin()
        proxied = Proxied(edge, hop, left, elasticsearch.server)
        yield proxied
        await proxied.settled()
        await left.assert_nothing()


@pytest.fixture
def faults(pytestconfig: pytest.Config) -> tuple[Fault, ...]:
    """Return all in the long profile, else every second one: there are some of each sort."""
    return EACH if pytestconfig.getoption("long") else EACH[::2]


@pytest.fixture(autouse=True)
def without_objects() -> Iterator[None]:
    with records_without_objects():
        yield


@pytest.fixture
def crimes(make_index: MakeIndex) -> str:
    return make_index({"text": f"crime {n}"} for n in range(1, 5))


def post(path: str, body: Any, lines: bool = False) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    media = b"application/x-ndjson" if lines else b"application/json"
    head = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Type: %b\r\n" % (path.encode(), media)
    return head + b"Content-Length: %d\r\n\r\n" % len(data) + data


def chunked(path: str, pieces: list[bytes]) -> bytes:
    head = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-ndjson\r\n" % path.encode()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def document(index: str) -> bytes:
    return b"GET /%b/_doc/1 HTTP/1.1\r\nHost: a\r\n\r\n" % index.encode()


PLAIN: dict[str, Callable[[str], bytes]] = {
    "get": document,
    "search": lambda index: post(f"/{index}/_search", {"size": 2}),
    "index": lambda index: post(f"/{index}/_doc", {"text": "peace"}),
    "bulk": lambda index: chunked(f"/{index}/_bulk", [b'{"index":{}}\n', b'{"text":"peace"}\n'] * 3),
}
WRITES = {"index", "bulk"}


def comparable(answer: Message) -> bytes:
    """Return what does not differ from one time to the next."""
    varying = rb'"(?:took|_id|_version|_seq_no|id|\w+_time_in_millis)" ?: ?(?:\d+|"[^"]*")'
    return re.sub(varying, b"_", answer.content)


def check_error(answer: Message, status: int, hop: FaultHop) -> None:
    assert answer.status == status, answer
    error = json.loads(answer.content)["error"]
    reason = error.get("caused_by", error)["reason"]
    assert hop.url in reason if status == 502 else "[search.deadline_s: 0.3s] has passed" in reason


@pytest.mark.parametrize("kept", [True, False], ids=["kept connection", "new connection"])
@pytest.mark.parametrize("kind", PLAIN)
async def test_plain(
    elasticsearch: RunningElasticsearch,
    crimes: str,
    tmp_path: Path,
    faults: tuple[Fault, ...],
    kind: str,
    kept: bool,
) -> None:
    request = PLAIN[kind](crimes)
    async with faulty(elasticsearch, elasticsearch.url, tmp_path) as proxied:
        direct = await proxied.ask(request)
        assert direct is not None
        for fault in faults:
            await proxied.settled()
            if kept:
                await proxied.ask(document(crimes))
            proxied.hop.arm(fault)
            answer = await proxied.ask(request)
            again = kept and kind not in WRITES and fault in BEFORE_AN_ANSWER
            if fault in CUT_SHORT:
                assert answer is None, fault
            elif fault in HARMLESS or again:
                assert answer is not None, fault
                assert comparable(answer) == comparable(direct), fault
            else:
                assert answer is not None, fault
                check_error(answer, 502, proxied.hop)
            assert len(proxied.hop.exchanges) == 1 + again, fault
        await proxied.settled()


def many(index: str) -> bytes:
    lines = ({"index": index}, reranking(), {"index": index}, {**reranking(), "size": 2})
    return post("/_msearch", b"".join(json.dumps(line).encode() + b"\n" for line in lines), lines=True)


RERANKED: dict[str, Callable[[str], bytes]] = {
    "one search": lambda index: post(f"/{index}/_search", reranking()),
    "point in time": lambda index: post(
        f"/{index}/_search?{TWO_STAGES}", reranking(reranking()["retriever"])
    ),
    "many searches": many,
    "template": lambda index: post(f"/{index}/_search/template", {"source": json.dumps(reranking())}),
    "asynchronous": lambda index: post(
        f"/{index}/_async_search?wait_for_completion_timeout=60s&keep_on_completion=false", reranking()
    ),
}
READS = ("_search", "_msearch", "_render/template", "_security/_authenticate")


def fails(call: str, fault: Fault, kept: bool) -> bool:
    """Return whether the search that needs this request fails with it."""
    if fault in HARMLESS or call == "DELETE /_pit":
        return False
    return not (kept and fault in BEFORE_AN_ANSWER and call.endswith(READS))


@pytest.mark.parametrize("kind", RERANKED)
async def test_reranked(
    elasticsearch: RunningElasticsearch, crimes: str, tmp_path: Path, faults: tuple[Fault, ...], kind: str
) -> None:
    request = RERANKED[kind](crimes)
    async with (
        with_templates(elasticsearch.url) as templates,
        faulty(elasticsearch, templates.url, tmp_path) as proxied,
    ):
        proxied.hop.arm()
        direct = await proxied.ask(request)
        assert direct is not None
        assert direct.status == 200
        await proxied.settled()
        exchanges = proxied.hop.exchanges
        calls = [exchange.call for exchange in exchanges]
        # Nothing more is asked on a connection where Elasticsearch has answered 400.
        on_new = {n + 1 for n, each in enumerate(exchanges) if each.answer and each.answer.status == 400}
        cases = [(0, False), *((number, True) for number in range(len(calls)))]
        for fault in faults:
            for number, kept in cases:
                if kept:
                    await proxied.ask(request)
                proxied.hop.arm(fault, number)
                answer = await proxied.ask(request)
                assert answer is not None, (fault, calls[number])
                if fails(calls[number], fault, kept and number not in on_new):
                    check_error(answer, 502, proxied.hop)
                else:
                    assert answer.status == 200, (fault, calls[number], answer)
                    assert comparable(answer) == comparable(direct), (fault, calls[number])
                await proxied.settled()


@pytest.mark.parametrize("kind", ["one search", "point in time"])
async def test_an_upstream_that_stalls(
    elasticsearch: RunningElasticsearch, crimes: str, tmp_path: Path, kind: str
) -> None:
    request = RERANKED[kind](crimes)
    async with faulty(elasticsearch, elasticsearch.url, tmp_path, deadline_s=0.3) as proxied:
        for fault in STALLS:
            for number in range(3 if kind == "point in time" else 1):
                proxied.hop.arm(fault, number)
                answer = await proxied.ask(request)
                assert answer is not None, fault
                check_error(answer, 504, proxied.hop)
                await proxied.settled()


@pytest.mark.parametrize("kind", [*PLAIN, *RERANKED])
async def test_a_client_that_leaves_an_upstream_that_stalls(
    elasticsearch: RunningElasticsearch, crimes: str, tmp_path: Path, kind: str
) -> None:
    request = {**PLAIN, **RERANKED}[kind](crimes)
    async with (
        with_templates(elasticsearch.url) as templates,
        faulty(elasticsearch, templates.url, tmp_path, deadline_s=0.3) as proxied,
    ):
        for fault in STALLS:
            proxied.hop.arm(fault)
            async with connect(proxied.edge.address.port) as client:
                await client.send(request)
                await asyncio.wait_for(proxied.hop.stalled.wait(), TIMEOUT_S)
                client.reset()
            await proxied.settled()
            assert len(proxied.hop.exchanges) == 1


@pytest.mark.parametrize("kind", [*PLAIN, *RERANKED])
async def test_an_upstream_that_restarts(
    elasticsearch: RunningElasticsearch, crimes: str, tmp_path: Path, kind: str
) -> None:
    """Kept connections are reset, then it refuses new ones, then it is back."""
    request = {**PLAIN, **RERANKED}[kind](crimes)
    async with (
        with_templates(elasticsearch.url) as templates,
        faulty(elasticsearch, templates.url, tmp_path) as proxied,
    ):
        direct = await proxied.ask(request)
        assert direct is not None
        await proxied.left.idle()
        proxied.hop.refuse()
        proxied.hop.drop()
        for _ in range(2):
            answer = await proxied.ask(request)
            assert answer is not None
            check_error(answer, 502, proxied.hop)
            assert b"connection refused" in answer.content
        await proxied.hop.listen()
        proxied.hop.arm()
        answer = await proxied.ask(request)
        assert answer is not None
        assert comparable(answer) == comparable(direct)
        await proxied.settled()
        assert sum(exchange.call == proxied.hop.exchanges[0].call for exchange in proxied.hop.exchanges) == 1
