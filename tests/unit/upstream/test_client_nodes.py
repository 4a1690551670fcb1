"""Inner requests to several nodes: which one gets them, and what goes to another one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from multidict import CIMultiDict

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.settings import Settings
from rerank_proxy.upstream.client import ElasticsearchClient
from tests.support.raw_http import Message, Serve, Wire, answering, raw_server

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
REFUSED = "http://127.0.0.1:1"


@asynccontextmanager
async def client(*urls: str, **upstream: object) -> AsyncIterator[ElasticsearchClient]:
    settings = Settings.model_validate({"upstream": {"urls": urls, **upstream}})
    repeats.clear()
    made = ElasticsearchClient(settings.upstream, settings.search, lambda: repeats.append(1))
    try:
        yield made
    finally:
        await made.close()


repeats: list[int] = []


async def ask(
    upstream: ElasticsearchClient, method: str = "POST", target: str = "/_search", **headers: str
) -> int:
    caller = upstream.for_caller(CIMultiDict(headers))
    return (await caller.request(method, target, b"{}")).status


class Losing:
    """A node that takes requests and closes the connection."""

    def __init__(self) -> None:
        self.lost: list[Message] = []

    async def serve(self, wire: Wire) -> None:
        self.lost.append(await wire.read_message())


@asynccontextmanager
async def beside_one_that_loses(
    lost: Losing,
) -> AsyncIterator[tuple[ElasticsearchClient, str, list[Message]]]:
    serve, taken = answering(OK)
    async with (
        raw_server(lost.serve) as first,
        raw_server(serve) as second,
        client(first.url, second.url) as upstream,
    ):
        yield upstream, first.url, taken


async def test_equals_take_turns() -> None:
    (one, first), (other, second) = answering(OK), answering(OK)
    async with raw_server(one) as a, raw_server(other) as b, client(a.url, b.url) as upstream:
        assert [await ask(upstream) for _ in range(6)] == [200] * 6
    assert (len(first), len(second)) == (3, 3)


async def test_one_that_refuses_costs_nothing() -> None:
    serve, taken = answering(OK)
    async with raw_server(serve) as living, client(REFUSED, living.url) as upstream:
        assert [await ask(upstream, "PUT", "/i/_doc/1") for _ in range(4)] == [200] * 4
    assert (len(taken), repeats) == (4, [])


async def test_none_can_be_reached() -> None:
    async with client(REFUSED, "http://127.0.0.1:2") as upstream:
        with pytest.raises(ElasticsearchError) as raised:
            await ask(upstream)
    assert raised.value.status == 502
    assert all(f"[{url}]" in str(raised.value) for url in (REFUSED, "http://127.0.0.1:2"))


async def test_what_reads_goes_to_another_node() -> None:
    lost = Losing()
    async with beside_one_that_loses(lost) as (upstream, _, taken):
        while not lost.lost:
            assert await ask(upstream) == 200
    assert len(taken) >= 1
    assert repeats == [1]


async def test_what_opens_something_does_not() -> None:
    lost = Losing()
    async with beside_one_that_loses(lost) as (upstream, url, _):
        failures: list[ElasticsearchError] = []
        while not lost.lost:
            try:
                await ask(upstream, target="/i/_pit?keep_alive=1m")
            except ElasticsearchError as failure:
                failures.append(failure)
    assert [failure.status for failure in failures] == [502]
    assert f"[{url}]" in str(failures[0])
    assert repeats == []


async def test_nothing_is_sent_a_third_time() -> None:
    lost = [Losing() for _ in range(3)]
    async with (
        raw_server(lost[0].serve) as a,
        raw_server(lost[1].serve) as b,
        raw_server(lost[2].serve) as c,
        client(a.url, b.url, c.url) as upstream,
    ):
        with pytest.raises(ElasticsearchError):
            await ask(upstream)
    assert sorted(len(each.lost) for each in lost) == [0, 1, 1]


@pytest.mark.parametrize("sent", [{"Host": "the-client's"}, {}])
async def test_each_node_gets_its_own_host(sent: dict[str, str]) -> None:
    (one, first), (other, second) = answering(OK), answering(OK)
    async with (
        raw_server(one) as a,
        raw_server(other) as b,
        client(a.url, b.url, host_header="upstream") as upstream,
    ):
        for _ in range(4):
            await ask(upstream, **sent)
    for requests, url in ((first, a.url), (second, b.url)):
        assert {request.field("Host") for request in requests} == {url.removeprefix("http://")}


async def test_the_clients_host_is_kept_otherwise() -> None:
    serve: Serve
    serve, taken = answering(OK)
    async with raw_server(serve) as living, client(living.url) as upstream:
        await ask(upstream, Host="the-client's")
    assert [request.field("Host") for request in taken] == ["the-client's"]
