"""What any answer of upstream means to a registry in an index."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web

from rerank_proxy.inference.registry.index_client import MAX_ANSWER, IndexClient, RefusedError
from rerank_proxy.inference.registry.index_store import IndexStore
from rerank_proxy.inference.registry.refusals import MEANINGS, explain
from rerank_proxy.settings import InvalidSettingsError, load
from tests.support.raw_http import unconnectable
from tests.support.stores import Watched, endpoint, refusal

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PRODUCT = {"X-Elastic-Product": "Elasticsearch"}
ELASTICSEARCH = {**PRODUCT, "Content-Type": "application/json"}


@asynccontextmanager
async def proxy(handler: Handler, **registry: Any) -> AsyncIterator[Watched]:
    """Run a proxy whose upstream answers everything like this."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        settings = load(
            None, {"upstream": f"http://{host}:{port}", "registry": {"index": "i", **registry}}, {}
        )
        client = IndexClient(settings.upstream, settings.registry)
        async with Watched(IndexStore(client, "i", None, 3600.0)) as watched:
            yield watched
    finally:
        await runner.cleanup()


def answering(status: int, body: Any, headers: dict[str, str] = ELASTICSEARCH) -> Handler:
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, body=content, headers=headers)

    return answer


def exception(status: int, type_: str, reason: str, **more: Any) -> tuple[int, Any]:
    return status, {"error": {"root_cause": [], "type": type_, "reason": reason, **more}, "status": status}


INDEX_BLOCK = "index [i] blocked by: [FORBIDDEN/7/index read (api)];"
REFUSALS: dict[str, tuple[tuple[int, Any], int, str]] = {
    "no credentials": (
        exception(401, "security_exception", "missing authentication credentials"),
        500,
        "upstream does not accept the proxy's own credentials; correct registry.username",
    ),
    "no privileges": (
        exception(403, "security_exception", "action [indices:data/read] is unauthorized for user [x]"),
        500,
        "the proxy's own account may not; give it the index privileges [read, write, create_index] on [i]",
    ),
    "no licence": (
        exception(403, "security_exception", "current license is non-compliant for [security]"),
        500,
        "upstream's licence does not allow it: current license is non-compliant for [security]",
    ),
    "a block": (
        exception(403, "cluster_block_exception", INDEX_BLOCK),
        500,
        f"the index [i] is blocked, not forbidden: {INDEX_BLOCK}; take the block back there",
    ),
    "a full disk": (
        exception(429, "cluster_block_exception", "index [i] blocked by: [TOO_MANY_REQUESTS/12/disk usage"),
        429,
        "the index [i] is blocked for want of disk space: index [i] blocked by: [TOO_MANY_REQUESTS/12/disk",
    ),
    "no master": (
        exception(503, "cluster_block_exception", "blocked by: [SERVICE_UNAVAILABLE/2/no master];"),
        503,
        "upstream has no master, or has not recovered yet: blocked by: [SERVICE_UNAVAILABLE/2/no master];",
    ),
    "closed": (exception(400, "index_closed_exception", "closed"), 500, "the index [i] is closed; open it"),
    "strict": (
        exception(400, "strict_dynamic_mapping_exception", "introduction of [x] is not allowed"),
        500,
        "the mapping of the index [i] is that of another version: introduction of [x] is not allowed",
    ),
    "overload": (
        exception(429, "es_rejected_execution_exception", "rejected execution of coordinating operation"),
        429,
        "upstream is overloaded: rejected execution of coordinating operation",
    ),
    "a circuit breaker": (
        exception(429, "circuit_breaking_exception", "[parent] Data too large"),
        429,
        "upstream is overloaded: [parent] Data too large",
    ),
    "no shard": (
        exception(503, "search_phase_execution_exception", "", caused_by={"reason": "missing shards"}),
        503,
        "the index [i], or upstream as a whole, is not available: missing shards",
    ),
    "a gateway without upstream": ((502, b"<html>"), 502, "upstream cannot be reached: it gave no reason"),
    "a gateway that waited": ((504, b""), 504, "upstream is too slow: it gave no reason"),
    "a page of another server": ((403, b"<html>"), 500, "upstream answered 403: it gave no reason"),
    "a path of another server": ((404, b"not here"), 500, "upstream answered 404: it gave no reason"),
    "an error of a string": ((400, {"error": "no such thing"}), 500, "upstream answered 400: no such thing"),
    "an error of another shape": ((500, {"error": [1]}), 500, "upstream answered 500: it gave no reason"),
    "a deep error": ((500, b'{"error":' * 3000), 500, "upstream answered 500: it gave no reason"),
    "an error with a forged line": (
        exception(500, "x", "a\n2026-01-01 00:00:00,000 CRITICAL"),
        500,
        "upstream answered 500: a\\n2026",
    ),
    "an endless error": ((500, b" " * 10**6), 500, "upstream answered 500: it gave no reason"),
}


@pytest.mark.parametrize(("answer", "status", "problem"), REFUSALS.values(), ids=REFUSALS)
async def test_refusals(answer: tuple[int, Any], status: int, problem: str) -> None:
    async with proxy(answering(*answer)) as watched:
        for failure in (
            await refusal(watched.store.refresh()),
            await refusal(watched.store.create(endpoint("a"))),
        ):
            assert failure.status == status
            assert f": {problem}" in failure.cause.reason
            assert failure.cause.reason.isprintable()
            assert len(failure.cause.reason) < 600
            assert failure.cause.reason.startswith(
                ("The registry of", "Failed to store inference endpoint [a]")
            )


def test_each_meaning_is_one_of_a_refusal_that_is_tested() -> None:
    """But for those of a race, and of no answer at all."""
    met = set()
    for (status, body), *_ in REFUSALS.values():
        error = body["error"] if isinstance(body, dict) and isinstance(body["error"], dict) else {}
        refused = RefusedError(status, error.get("type", ""), error.get("reason", ""))
        met |= {meaning for meaning in MEANINGS if meaning.fits(refused)}
    assert [meaning.type for meaning in MEANINGS if meaning not in met] == [
        "index_not_found_exception",
        "no_elasticsearch",
        "unreached",
    ]
    assert explain(RefusedError(404, "index_not_found_exception", ""), "i") == (
        500,
        "the index [i] has gone meanwhile",
    )


HITS = {"total": {"value": 1}, "hits": [{"_id": "a", "_seq_no": 0, "_primary_term": 1}]}
NONSENSE = {
    "an empty object": {},
    "no hits": {"hits": {}},
    "hits of another type": {"hits": {"total": {"value": 1}, "hits": 5}},
    "a total of another type": {"hits": {"total": "1", "hits": []}},
    "a hit without its number": {"hits": {"total": {"value": 1}, "hits": [{"_id": "a"}]}},
    "an id of another type": {"hits": {**HITS, "hits": [{"_id": 5, "_seq_no": 0, "_primary_term": 1}]}},
    "a page": b"<html>",
    "nothing": b"",
    "no UTF-8": b'{"hits": "\xff"}',
    "half": b'{"hits": {"total": {"value": 1}, "hits": [',
}


@pytest.mark.parametrize("body", NONSENSE.values(), ids=NONSENSE)
async def test_an_answer_that_is_not_elasticsearchs(body: Any) -> None:
    """It never means that there are no endpoints."""
    async with proxy(answering(200, body)) as watched:
        failure = await refusal(watched.store.refresh())
        assert failure.status == 502
        assert ": upstream does not answer as Elasticsearch does" in failure.cause.reason


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {"Content-Type": "application/json"}),
        (200, {"X-Elastic-Product": "other"}),
        (302, {**ELASTICSEARCH, "Location": "http://127.0.0.1:1/"}),
        (200, {**ELASTICSEARCH, "Content-Encoding": "gzip"}),
    ],
)
async def test_what_does_not_even_look_like_it(status: int, headers: dict[str, str]) -> None:
    body = b"\x1f\x8b" if "Content-Encoding" in headers else msgspec.json.encode({"hits": HITS})
    async with proxy(answering(status, body, headers)) as watched:
        assert (await refusal(watched.store.refresh())).status == 502


async def test_an_endless_answer_is_read_up_to_a_limit() -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers=ELASTICSEARCH)
        await response.prepare(request)
        while True:
            await response.write(b" " * 2**20)
            sent += 2**20

    async with proxy(endless) as watched:
        failure = await refusal(watched.store.refresh())
        assert (failure.status, failure.cause.reason.partition(": ")[2]) == (
            502,
            f"upstream's answer takes more than {MAX_ANSWER} bytes",
        )
        assert sent < 4 * MAX_ANSWER


async def test_a_deep_answer() -> None:
    async with proxy(answering(200, b'{"x":' * 100_000)) as watched:
        failure = await refusal(watched.store.refresh())
        assert (failure.status, failure.cause.reason.partition(": ")[2]) == (
            502,
            "upstream's answer is nested too deeply",
        )


@pytest.mark.parametrize(
    ("registry", "expected"),
    [
        ({}, None),
        ({"username": "proxy", "password": "s3cret"}, "Basic cHJveHk6czNjcmV0"),
        ({"api_key": "aWQ6a2V5"}, "ApiKey aWQ6a2V5"),
    ],
)
async def test_the_proxys_own_credentials(registry: dict[str, Any], expected: str | None) -> None:
    seen = []

    async def look(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.json_response({"hits": {"total": {"value": 0}}}, headers=PRODUCT)

    async with proxy(look, **registry) as watched:
        await watched.store.refresh()
    assert set(seen) == {expected}


async def test_a_key_that_would_forge_headers() -> None:
    settings = load(None, {"registry": {"api_key": "a\r\nX: b"}}, {})
    with pytest.raises(InvalidSettingsError, match=r"registry.api_key\]: holds characters that no header"):
        IndexClient(settings.upstream, settings.registry)


async def test_one_shard_that_is_away_does_not_make_endpoints_disappear() -> None:
    """`_mget` says it for each document, with status 200."""

    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith("_mget"):
            error = {"type": "no_shard_available_action_exception", "reason": "away"}
            body: Any = {"docs": [{"_index": "i", "_id": "a", "error": error}]}
        elif request.path.endswith("_field_caps"):
            body = {"indices": ["i"]}
        else:
            body = {"hits": HITS}
        return web.json_response(body, headers=PRODUCT)

    async with proxy(answer) as watched:
        failure = await refusal(watched.store.refresh())
        assert failure.status == 503


async def test_which_time_was_over() -> None:
    """A connection has less than an answer."""
    with unconnectable() as port:
        url = f"http://127.0.0.1:{port}"
        settings = load(None, {"upstream": {"url": url, "connect_timeout_s": 0.05}}, {})
        client = IndexClient(settings.upstream, settings.registry)
        with pytest.raises(RefusedError) as raised:
            await client.call("GET", "", answer=dict)
        await client.close()
    assert raised.value.status == 502
    assert "no connection within [upstream.connect_timeout_s: 0.05s]" in str(raised.value)


async def test_of_several_nodes_any_one_will_do() -> None:
    """The one that was reached is asked first from then on; what was not sent may be sent again."""
    asked = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.json_response({"asked": asked}, headers=PRODUCT)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    with unconnectable() as silent:
        urls = ["http://127.0.0.1:1", f"http://127.0.0.1:{silent}", f"http://{host}:{port}"]
        settings = load(None, {"upstream": {"urls": urls, "connect_timeout_s": 0.05}}, {})
        client = IndexClient(settings.upstream, settings.registry)
        for number in (1, 2, 3):
            assert await client.call("PUT", "_doc/1", {}, answer=dict) == {"asked": number}
        assert client._nodes[0] == urls[2]
        await runner.cleanup()
        with pytest.raises(RefusedError) as raised:
            await client.call("GET", "", answer=dict)
        await client.close()
    assert raised.value.status == 502
    assert all(f"[{url}]" in str(raised.value) for url in urls)
