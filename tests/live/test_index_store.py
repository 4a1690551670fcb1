"""Endpoints in an index of a real Elasticsearch, which several proxies share."""

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

from rerank_proxy.inference.failures import InferenceFailedError
from rerank_proxy.inference.registry.index_client import IndexClient
from rerank_proxy.inference.registry.index_store import IndexStore
from rerank_proxy.inference.registry.key_ring import KeyRing
from rerank_proxy.settings import load
from testbed import RunningElasticsearch
from testbed.http import Server
from tests.support.accounts import PASSWORD, REGISTRY
from tests.support.relay import relay
from tests.support.stores import Watched, endpoint, refusal

SOON_S, LATE_S = 0.05, 3600.0
RING = KeyRing([b"k" * 32])


def index_store(
    url: str, index: str, *, keys: KeyRing | None = RING, refresh_s: float = LATE_S, **registry: Any
) -> IndexStore:
    settings = load(None, {"upstream": url, "registry": {"store": "index", "index": index, **registry}}, {})
    return IndexStore(IndexClient(settings.upstream, settings.registry), index, keys, refresh_s)


Open = Callable[..., Awaitable[Watched]]


class TestSharing:
    @pytest.fixture
    def index(self, elasticsearch: RunningElasticsearch) -> Iterator[str]:
        name = f"test-registry-{uuid.uuid4().hex[:12]}"
        yield name
        elasticsearch.server.call("DELETE", f"/{name}")

    @pytest.fixture
    async def open_proxy(self, elasticsearch: RunningElasticsearch, index: str) -> AsyncIterator[Open]:
        """Opens one more store on the same index, as another proxy would."""
        async with AsyncExitStack() as stack:

            async def open_(**options: Any) -> Watched:
                store = index_store(options.pop("url", elasticsearch.url), index, **options)
                return await stack.enter_async_context(Watched(store))

            yield open_

    @pytest.mark.every_version
    async def test_what_one_does_the_others_see(self, open_proxy: Open) -> None:
        one, other = await open_proxy(), await open_proxy(refresh_s=SOON_S)
        await one.store.create(endpoint("a", api_key="sesame"))
        assert one.configs == {"a": endpoint("a", api_key="sesame")}
        await other.until(lambda all_: "a" in all_)
        assert other.configs == one.configs
        await one.store.replace(endpoint("a", top_n=3, api_key="other"), one.version("a"))
        await other.until(lambda all_: all_["a"].config.task_settings == {"top_n": 3})
        assert other.configs == one.configs == {"a": endpoint("a", top_n=3, api_key="other")}
        await other.store.delete("a", other.version("a"))
        assert other.configs == {}
        await one.store.refresh()
        assert one.configs == {}

    @pytest.mark.every_version
    async def test_of_several_creations_at_the_same_time_one_wins(self, open_proxy: Open) -> None:
        """The index itself is created at the same time."""
        proxies = [await open_proxy() for _ in range(4)]
        attempts = (each.store.create(endpoint("a", top_n=n)) for n, each in enumerate(proxies, 1))
        outcomes = await asyncio.gather(*attempts, return_exceptions=True)
        refused = [outcome for outcome in outcomes if outcome is not None]
        assert len(refused) == 3
        for failure in refused:
            assert isinstance(failure, InferenceFailedError)
            assert (failure.status, failure.cause.type, failure.cause.reason) == (
                400,
                "resource_already_exists_exception",
                "Inference endpoint [a] already exists",
            )
        winner = outcomes.index(None) + 1
        for proxy in proxies:
            await proxy.store.refresh()
            assert proxy.configs == {"a": endpoint("a", top_n=winner)}

    @pytest.mark.every_version
    async def test_of_several_changes_at_the_same_time_one_wins(self, open_proxy: Open) -> None:
        one, other = await open_proxy(), await open_proxy()
        await one.store.create(endpoint("a"))
        await other.store.refresh()
        first = other.version("a")
        await one.store.replace(endpoint("a", top_n=1), first)
        for attempt in (other.store.replace(endpoint("a", top_n=2), first), other.store.delete("a", first)):
            failure = await refusal(attempt)
            assert (failure.status, failure.cause.reason) == (
                409,
                "Inference endpoint [a] was changed by another request; try again",
            )
        assert other.configs == {"a": endpoint("a", top_n=1)}  # and the next try is with the new version
        await other.store.delete("a", other.version("a"))
        for attempt in (one.store.replace(endpoint("a"), first), one.store.delete("a", first)):
            failure = await refusal(attempt)
            assert (failure.status, failure.cause.reason) == (404, "Inference endpoint not found [a]")

    @pytest.mark.every_version
    async def test_endpoints_outlive_the_proxies(self, open_proxy: Open) -> None:
        configs = {name: endpoint(name, api_key=f"of {name}") for name in ("a", "b-1", "sl/ash é?")}
        first = await open_proxy()
        for config in configs.values():
            await first.store.create(config)
        assert (await open_proxy()).configs == configs

    @pytest.mark.every_version
    async def test_the_index(self, open_proxy: Open, elasticsearch: RunningElasticsearch, index: str) -> None:
        proxy = await open_proxy()
        assert elasticsearch.server.call("GET", f"/{index}").status == 404  # made on first use only
        await proxy.store.create(endpoint("a", api_key="sesame"))
        (made,) = elasticsearch.server.call("GET", f"/{index}").json().values()
        settings = made["settings"]["index"]
        assert (settings["hidden"], settings["number_of_shards"]) == ("true", "1")
        assert settings["auto_expand_replicas"] == "0-1"
        assert made["mappings"]["dynamic"] == "strict"
        kept = elasticsearch.server.call("GET", f"/{index}/_doc/a").body
        assert b"rerank-v3.5" in kept
        assert b"sesame" not in kept
        assert b"api_key" not in kept

    async def test_the_endpoints_of_an_index_that_is_gone_go_on(
        self,
        open_proxy: Open,
        elasticsearch: RunningElasticsearch,
        index: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """They are kept until there is an index again, whose contents count, and the log says so."""
        proxy, fresh = await open_proxy(), await open_proxy()
        await proxy.store.create(endpoint("a"))
        await proxy.store.create(endpoint("b"))
        elasticsearch.server.call("DELETE", f"/{index}")
        await proxy.store.refresh()
        for attempt in (
            proxy.store.create(endpoint("c")),
            proxy.store.replace(endpoint("a", top_n=1), proxy.version("a")),
            proxy.store.delete("a", proxy.version("a")),
        ):
            failure = await refusal(attempt)
            assert (failure.status, failure.cause.reason) == (
                500,
                "What held the registry of inference endpoints is gone. Those that were read from it go on: "
                "[a], [b]. Restore it, or start the proxy again to begin anew",
            )
        assert set(proxy.configs) == {"a", "b"}
        assert elasticsearch.server.call("GET", f"/{index}").status == 404
        await fresh.store.create(endpoint("b"))
        await proxy.store.refresh()
        assert set(proxy.configs) == {"b"}
        assert [
            (record.levelname, record.getMessage()) for record in caplog.records if record.levelno > 20
        ] == [
            ("ERROR", f"{failure} [index {index}]"),
            ("WARNING", f"gone from the registry: inference endpoints [a] [index {index}]"),
        ]

    async def test_all_endpoints_can_be_deleted(
        self, open_proxy: Open, elasticsearch: RunningElasticsearch, index: str
    ) -> None:
        """And then the index."""
        proxy, other = await open_proxy(), await open_proxy(refresh_s=SOON_S)
        for name in ("a", "b"):
            await proxy.store.create(endpoint(name))
        await other.until(lambda all_: set(all_) == {"a", "b"})
        for name in ("a", "b"):
            await proxy.store.delete(name, proxy.version(name))
        await other.until(lambda all_: not all_)
        elasticsearch.server.call("DELETE", f"/{index}")
        await proxy.store.create(endpoint("c"))
        await other.until(lambda all_: set(all_) == {"c"})
        (made,) = elasticsearch.server.call("GET", f"/{index}").json().values()
        assert made["mappings"]["dynamic"] == "strict"

    async def test_a_damaged_document_leaves_the_others(
        self,
        open_proxy: Open,
        elasticsearch: RunningElasticsearch,
        index: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        proxy = await open_proxy()
        await proxy.store.create(endpoint("a"))
        put = elasticsearch.server.call("PUT", f"/{index}/_doc/b?refresh=true", {"service": "cohere"})
        assert put.status == 201
        await proxy.store.refresh()
        await proxy.store.create(endpoint("c"))
        assert set(proxy.configs) == {"a", "c"}
        errors = [record.message for record in caplog.records if record.levelno == logging.ERROR]
        assert errors == [
            "inference endpoint [b] of the registry is damaged and left out until it is repaired: its "
            "[format] is [None], not [1]"
        ]

    async def test_the_index_only_accepts_documents_of_the_registry(
        self, open_proxy: Open, elasticsearch: RunningElasticsearch, index: str
    ) -> None:
        await (await open_proxy()).store.create(endpoint("a"))
        assert elasticsearch.server.call("PUT", f"/{index}/_doc/b", {"anything": 1}).status == 400

    async def test_a_proxy_with_another_key(self, open_proxy: Open) -> None:
        one, other = await open_proxy(), await open_proxy(keys=KeyRing([b"o" * 32]))
        await one.store.create(endpoint("a", api_key="sesame"))
        await other.store.refresh()
        failure = other.all["a"].failure
        assert failure is not None
        assert "encrypted with the key of id [" in failure.cause.reason
        await other.store.delete("a", other.version("a"))
        await one.store.refresh()
        assert one.configs == {}

    async def test_a_proxy_without_a_key(self, open_proxy: Open) -> None:
        proxy = await open_proxy(keys=None)
        failure = await refusal(proxy.store.create(endpoint("a", api_key="sesame")))
        assert (failure.status, failure.cause.reason) == (
            400,
            "Failed to store inference endpoint [a]: its secrets cannot be encrypted, since registry.key is "
            "not set; proxies that share a registry need the same key",
        )
        await proxy.store.create(endpoint("b"))
        assert set(proxy.configs) == {"b"}

    async def test_a_check_that_finds_nothing_new_fetches_nothing(
        self, open_proxy: Open, elasticsearch: RunningElasticsearch
    ) -> None:
        fetched = 0

        async def mget(request: web.Request) -> web.Response:
            nonlocal fetched
            fetched += 1
            body = json.loads(await request.read())
            reply = elasticsearch.server.call("POST", request.raw_path, body)
            headers = {"X-Elastic-Product": "Elasticsearch", "Content-Type": reply.headers["content-type"]}
            return web.Response(status=reply.status, body=reply.body, headers=headers)

        async with relay(elasticsearch.url, {("POST", "/{index}/_mget"): mget}) as url:
            proxy, other = await open_proxy(url=url), await open_proxy()
            await other.store.create(endpoint("a"))
            for _ in range(3):
                await proxy.store.refresh()
            assert (set(proxy.configs), fetched) == ({"a"}, 1)

    async def test_upstream_is_down_at_first(
        self, open_proxy: Open, elasticsearch: RunningElasticsearch, caplog: pytest.LogCaptureFixture
    ) -> None:
        await (await open_proxy()).store.create(endpoint("a"))
        is_down = True

        async def maybe(request: web.Request) -> web.Response:
            assert request.transport is not None
            if is_down:
                request.transport.abort()
            body = json.loads(await request.read())
            reply = elasticsearch.server.call(request.method, request.raw_path, body)
            headers = {"X-Elastic-Product": "Elasticsearch", "Content-Type": reply.headers["content-type"]}
            return web.Response(status=reply.status, body=reply.body, headers=headers)

        async with relay(elasticsearch.url, {("POST", "/{index}/_search"): maybe}) as url:
            proxy = await open_proxy(url=url, refresh_s=SOON_S)
            assert proxy.configs == {}
            failures = [
                await refusal(proxy.store.create(endpoint("b"))),
                await refusal(proxy.store.refresh()),
            ]
            assert [(each.status, each.cause.type) for each in failures] == [(502, "status_exception")] * 2
            assert failures[0].cause.reason.startswith(
                "Failed to store inference endpoint [b]: the registry cannot be written: Elasticsearch at "
                f"[{url}] closed the connection before it answered"
            )
            is_down = False
            await proxy.until(lambda all_: "a" in all_)
        errors = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert len(errors) == 1  # however often it looked


@pytest.mark.every_version
class TestAccounts:
    """What the proxy's own account has to be allowed."""

    @pytest.fixture
    def index(self, secured: RunningElasticsearch) -> Iterator[str]:
        name = f"{REGISTRY}-{uuid.uuid4().hex[:12]}"
        yield name
        secured.server.call("DELETE", f"/{quote(name)}")

    async def test_the_documented_privileges_suffice(self, secured: RunningElasticsearch, index: str) -> None:
        store = index_store(secured.url, index, username="registry", password=PASSWORD)
        async with Watched(store) as proxy:
            await store.create(endpoint("a", api_key="sesame"))
            await store.replace(endpoint("a", top_n=1), proxy.version("a"))
            await store.delete("a", proxy.version("a"))
            await store.refresh()

    @pytest.mark.parametrize(
        ("registry", "problem"),
        [
            ({}, "upstream does not accept the proxy's own credentials; correct registry.username and"),
            (
                {"username": "registry", "password": "wrong"},
                "upstream does not accept the proxy's own credentials",
            ),
            ({"api_key": "bm86bm8="}, "upstream does not accept the proxy's own credentials"),
            (
                {"username": "registry_reader", "password": PASSWORD},
                "own account may not; give it the index privileges [read, write, create_index] on [",
            ),
            (
                {"username": "nobody", "password": PASSWORD},
                "own account may not; give it the index privileges [read, write, create_index] on [",
            ),
        ],
        ids=["none", "wrong password", "wrong key", "may only read", "may nothing"],
    )
    async def test_what_is_missing_is_named(
        self, secured: RunningElasticsearch, index: str, registry: dict[str, Any], problem: str
    ) -> None:
        store = index_store(secured.url, index, **registry)
        async with Watched(store):
            failure = await refusal(store.create(endpoint("a")))
            assert failure.status == 500
            assert problem in failure.cause.reason
            assert "wrong" not in failure.cause.reason
        assert Server(secured.url, secured.server.authorization).call("GET", f"/{index}").status == 404

    async def test_an_account_that_may_not_make_the_index_can_use_one(
        self, secured: RunningElasticsearch, index: str
    ) -> None:
        async with Watched(index_store(secured.url, index, username="registry", password=PASSWORD)) as maker:
            await maker.store.create(endpoint("a"))
        reader = index_store(secured.url, index, username="registry_reader", password=PASSWORD)
        async with Watched(reader) as proxy:
            assert set(proxy.configs) == {"a"}
