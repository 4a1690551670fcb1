"""The playground's requests, through a real edge to a server of the test's: what goes along, and what not."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from rerank_proxy.edge.server import Edge
from rerank_proxy.observe import admin
from rerank_proxy.pages import playground
from rerank_proxy.settings import load
from tests.support.admin_pages import REQUEST, AdminPages, admin_pages
from tests.support.raw_http import Serve, Wire, answering, connect, raw_server
from tests.support.tls import Authority

TOKEN = "a-token-of-sixteen-or-more"
FOUND = b'{"hits": {"hits": [] } , "took":1}'
ANSWER = (
    b"HTTP/1.1 200 OK\r\nX-elastic-product: Elasticsearch\r\nWarning: 299 one\r\nWarning: 299 two\r\n"
    b"Set-Cookie: a=b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(FOUND), FOUND)
)
SEARCH: tuple[str, str, Any] = ("POST", "/films/_search", {"query": {"match_all": {}}})


@asynccontextmanager
async def served(
    directory: Path, serve: Serve, host: str = "127.0.0.1", **sections: Any
) -> AsyncIterator[AdminPages]:
    async with raw_server(serve) as upstream:
        values = {"upstream": {"url": upstream.url}, "listen": "127.0.0.1:0", **sections}
        settings = load(None, values, {})
        edge = Edge(settings, directory / "app.sock")
        await edge.start()
        try:
            async with admin_pages(edge, directory / "control.sock", settings, host) as pages:
                yield pages
        finally:
            await edge.stop()


async def test_it_searches_with_the_visitors_credentials(tmp_path: Path) -> None:
    serve, requests = answering(ANSWER)
    async with served(tmp_path, serve, admin={"token": TOKEN}) as pages:
        shown = {"Authorization": f"Bearer {TOKEN}", "X-Elasticsearch-Authorization": "ApiKey dmlzaXRvcg=="}
        status, answer = await pages.ask(*SEARCH, shown)
    (asked,) = requests
    assert asked.first_line == b"POST /films/_search HTTP/1.1"
    assert json.loads(asked.content) == SEARCH[2]
    assert asked.field("authorization") == "ApiKey dmlzaXRvcg=="
    assert TOKEN.encode() not in asked.head
    assert asked.field("x-elasticsearch-authorization") is None
    assert status == 200
    assert answer.pop("took_ms") > 0
    assert answer == {
        "status": 200,
        "headers": {
            "x-elastic-product": "Elasticsearch",
            "warning": "299 one, 299 two",
            "content-type": "application/json",
        },
        "body": json.loads(FOUND),
        "record": None,
    }


async def test_neither_tls_nor_certificates_of_clients_are_in_its_way(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue()
    tls = {
        "cert": str(issued.path),
        "key": str(issued.key_path),
        "client_ca": str(authority.path),
        "client_auth": "required",
    }
    serve, requests = answering(ANSWER)
    async with served(tmp_path, serve, tls=tls) as pages:
        status, answer = await pages.ask(*SEARCH)
    assert (status, answer["status"], len(requests)) == (200, 200, 1)


@pytest.mark.parametrize("body", [b"", b"no JSON", b'{"a":', b'{"a":1} x', b"\xff", b"[" * 5000])
async def test_what_cannot_be_read_as_json_is_shown_as_text(tmp_path: Path, body: bytes) -> None:
    serve, _ = answering(b"HTTP/1.1 502 Bad\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
    async with served(tmp_path, serve) as pages:
        status, answer = await pages.ask(*SEARCH)
    assert (status, answer["status"]) == (200, 502)
    assert answer["body"] == body.decode("utf-8", "replace")


async def test_lines_of_json_are_sent_as_they_are(tmp_path: Path) -> None:
    serve, requests = answering(ANSWER)
    lines = '{"index":"films"}\n{"query":{"match":{"title":"日本"}}}\n'
    async with served(tmp_path, serve) as pages:
        await pages.ask("POST", "/_msearch", lines)
    (asked,) = requests
    assert asked.content == lines.encode()
    assert asked.field("content-type") == "application/x-ndjson"


BODY = json.dumps({"method": "GET", "path": "/_search"}).encode()
JSON = {"Content-Type": "application/json"}
REFUSALS: dict[str, tuple[dict[str, str], bytes, int]] = {
    "a form": ({"Content-Type": "text/plain"}, BODY, 415),
    "no type": ({}, BODY, 415),
    "compressed": ({**JSON, "Content-Encoding": "gzip"}, BODY, 415),
    "without a length": ({**JSON, "Content-Length": "", "Transfer-Encoding": "chunked"}, b"0\r\n\r\n", 411),
    "too large": ({**JSON, "Content-Length": "1048577"}, b"", 413),
    "no JSON": (JSON, b"{", 400),
    "no object": (JSON, b"[]", 400),
    "deep": (JSON, b'{"method":"GET","path":"/_search","body":' + b"[" * 100_000, 400),
    "a member too many": (JSON, b'{"method":"GET","path":"/_search","url":"x"}', 400),
    "no path": (JSON, b'{"method":"GET"}', 400),
    "another path": (JSON, b'{"method":"GET","path":"/_nodes"}', 403),
    "another method": (JSON, b'{"method":"DELETE","path":"/films/_search"}', 403),
    "a line too many": ({**JSON, "X-Elasticsearch-Authorization": "a\rb"}, BODY, 400),
    "another site": ({**JSON, "Sec-Fetch-Site": "cross-site"}, BODY, 403),
    "another origin": ({**JSON, "Origin": "http://elsewhere.example"}, BODY, 403),
    "a name made to resolve here": ({**JSON, "Host": "rebound.example"}, BODY, 403),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_what_it_refuses(tmp_path: Path, case: str, caplog: pytest.LogCaptureFixture) -> None:
    headers, body, status = REFUSALS[case]
    serve, requests = answering(ANSWER)
    async with served(tmp_path, serve) as pages:
        answer = await pages.send("POST", REQUEST, body, headers)
    assert answer.status == status
    assert json.loads(answer.body)["error"]["reason"]
    assert not requests
    assert not caplog.records


@pytest.mark.parametrize(
    ("settings", "shown", "status"),
    [
        ({"token": TOKEN}, {}, 401),
        ({"token": TOKEN}, {"Authorization": f"Bearer {TOKEN}x"}, 401),
        ({"token": TOKEN}, {"Authorization": f"Bearer {TOKEN}"}, 200),
        ({"token": TOKEN, "playground": False}, {"Authorization": f"Bearer {TOKEN}"}, 403),
        ({}, {}, 403),
        ({"open": True}, {}, 403),
        ({"open": True, "playground": True}, {}, 200),
    ],
)
async def test_who_may_search_on_a_port_that_others_reach(
    tmp_path: Path, settings: Mapping[str, Any], shown: Mapping[str, str], status: int
) -> None:
    serve, requests = answering(ANSWER)
    async with served(tmp_path, serve, "0.0.0.0", admin=settings) as pages:
        assert (await pages.ask(*SEARCH, shown))[0] == status
    assert len(requests) == (status == 200)


class Gate:
    """A server that answers when it is let."""

    def __init__(self) -> None:
        self.arrived = asyncio.Semaphore(0)
        self.open = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, wire: Wire) -> None:
        await wire.read_message()
        self.arrived.release()
        leaving = asyncio.create_task(wire.ended())
        opening = asyncio.create_task(self.open.wait())
        await asyncio.wait([leaving, opening], return_when=asyncio.FIRST_COMPLETED)
        if leaving.done():
            self.left.set()
        else:
            leaving.cancel()
            await wire.send(ANSWER)
        opening.cancel()


async def test_a_search_lasts_longer_than_other_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin, "_CONNECTION_S", 0.5)
    gate = Gate()
    async with served(tmp_path, gate) as pages:
        asking = asyncio.create_task(pages.ask(*SEARCH))
        await gate.arrived.acquire()
        async with connect(pages.port) as idle:
            assert await idle.ended()  # which came later, and has had all of its time
        gate.open.set()
        assert (await asking)[0] == 200


async def test_a_visitor_who_leaves_ends_the_search(tmp_path: Path) -> None:
    gate = Gate()
    async with served(tmp_path, gate) as pages:
        asking = asyncio.create_task(pages.ask(*SEARCH))
        await gate.arrived.acquire()
        asking.cancel()
        await gate.left.wait()


async def test_many_searches_keep_no_probe_out(tmp_path: Path) -> None:
    gate = Gate()
    async with served(tmp_path, gate) as pages:
        asking = [asyncio.create_task(pages.ask(*SEARCH)) for _ in range(playground.MOST)]
        for _ in asking:
            await gate.arrived.acquire()
        status, refusal = await pages.ask(*SEARCH)
        assert (status, refusal["error"]["type"]) == (429, "es_rejected_execution_exception")
        assert (await pages.get("/live")).status == 200
        gate.open.set()
        assert [status for status, _ in await asyncio.gather(*asking)] == [200] * playground.MOST
        assert (await pages.ask(*SEARCH))[0] == 200


async def test_bodies_that_do_not_come_keep_no_search_out(tmp_path: Path) -> None:
    serve, requests = answering(ANSWER)
    head = "\r\n".join(
        [
            f"POST {REQUEST} HTTP/1.1",
            "Host: localhost",
            *(f"{name}: {value}" for name, value in JSON.items()),
            "Content-Length: 9",
            "",
            "{",
        ]
    )
    async with served(tmp_path, serve) as pages, AsyncExitStack() as stack:
        for _ in range(playground.MOST + 1):
            slow = await stack.enter_async_context(connect(pages.port))
            await slow.send(head.encode())
        assert (await pages.get("/live")).status == 200  # those before have been read by now
        assert (await pages.ask(*SEARCH))[0] == 200
    assert len(requests) == 1


async def test_an_answer_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playground, "MAX_ANSWER", 10)
    serve, _ = answering(ANSWER)
    async with served(tmp_path, serve) as pages:
        status, answer = await pages.ask(*SEARCH)
    assert status == 400
    assert "larger than the 10 bytes" in answer["error"]["reason"]


async def test_a_search_that_takes_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(wire: Wire) -> None:
        await wire.read_to_end()

    monkeypatch.setattr(playground, "_MORE_S", -0.9)
    async with served(tmp_path, silent, search={"deadline_s": 1}) as pages:
        status, answer = await pages.ask(*SEARCH)
    assert status == 504
    assert "no answer within 0.1 s" in answer["error"]["reason"]


async def test_an_edge_that_has_stopped(tmp_path: Path) -> None:
    settings = load(None, {"upstream": "http://127.0.0.1:1", "listen": "127.0.0.1:0"}, {})
    edge = Edge(settings, tmp_path / "app.sock")
    async with admin_pages(edge, tmp_path / "control.sock", settings) as pages:
        status, answer = await pages.ask(*SEARCH)
    assert status == 502
    assert "closed the connection before it answered" in answer["error"]["reason"]
