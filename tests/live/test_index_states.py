"""What else may happen to the index of a registry in a real Elasticsearch, and what the log says."""

import logging
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from rerank_proxy.inference.failures import InferenceFailedError
from rerank_proxy.inference.registry.documents import MAPPINGS
from testbed import RunningElasticsearch
from tests.live.test_index_store import index_store
from tests.support.stores import ODD_IDS, Watched, document_of, endpoint, refusal

Call = Callable[..., Any]
DOCUMENT = document_of(endpoint("a"), None)


@pytest.fixture
def call(elasticsearch: RunningElasticsearch) -> Call:
    def checked(method: str, target: str, body: Any = None) -> Any:
        reply = elasticsearch.server.call(method, target, body)
        assert reply.status < 300, reply.body
        return reply.json()

    return checked


@pytest.fixture
def index(elasticsearch: RunningElasticsearch) -> Iterator[str]:
    name = f"test-registry-{uuid.uuid4().hex[:12]}"
    yield name
    elasticsearch.server.call("DELETE", f"/{name}?expand_wildcards=all")
    elasticsearch.server.call("DELETE", f"/{name}-of-alias-*?expand_wildcards=all")


@pytest.fixture
async def proxy(elasticsearch: RunningElasticsearch, index: str) -> AsyncIterator[Watched]:
    async with Watched(index_store(elasticsearch.url, index)) as watched:
        yield watched


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno > logging.INFO]


async def refusals(proxy: Watched) -> list[InferenceFailedError]:
    """Return the failures of a read and of a write."""
    return [await refusal(proxy.store.refresh()), await refusal(proxy.store.create(endpoint("b")))]


class TestBlocks:
    async def test_reads_are_blocked(self, proxy: Watched, call: Call, index: str) -> None:
        await proxy.store.create(endpoint("a"))
        call("PUT", f"/{index}/_settings", {"index.blocks.read": True})
        for failure in await refusals(proxy):
            assert failure.status == 500
            assert (
                f"the index [{index}] is blocked, not forbidden: index [{index}] blocked by: [FORBIDDEN/7/"
                in failure.cause.reason
            )
        assert set(proxy.configs) == {"a"}
        call("PUT", f"/{index}/_settings", {"index.blocks.read": None})
        await proxy.store.create(endpoint("b"))
        assert set(proxy.configs) == {"a", "b"}

    @pytest.mark.parametrize(
        ("block", "status", "problem"),
        [
            ("write", 500, "is blocked, not forbidden: index ["),
            ("read_only", 500, "is blocked, not forbidden: index ["),
            ("read_only_allow_delete", 429, "is blocked for want of disk space: index ["),
        ],
    )
    async def test_writes_are_blocked(
        self, proxy: Watched, call: Call, index: str, block: str, status: int, problem: str
    ) -> None:
        await proxy.store.create(endpoint("a"))
        call("PUT", f"/{index}/_settings", {f"index.blocks.{block}": True})
        await proxy.store.refresh()
        failure = await refusal(proxy.store.create(endpoint("b")))
        assert failure.status == status
        assert f"the registry cannot be written: the index [{index}] {problem}" in failure.cause.reason
        assert set(proxy.configs) == {"a"}
        call("PUT", f"/{index}/_settings", {f"index.blocks.{block}": None})

    async def test_closed(self, proxy: Watched, call: Call, index: str) -> None:
        await proxy.store.create(endpoint("a"))
        call("POST", f"/{index}/_close")
        for failure in await refusals(proxy):
            assert failure.status == 500
            assert failure.cause.reason.endswith(f": the index [{index}] is closed; open it")
        assert set(proxy.configs) == {"a"}

    async def test_red(self, proxy: Watched, call: Call, index: str) -> None:
        settings = {"index.routing.allocation.require._name": "none of this name"}
        call("PUT", f"/{index}?wait_for_active_shards=0", {"settings": settings, "mappings": MAPPINGS})
        for failure in await refusals(proxy):
            assert failure.status == 503
            assert (
                f": the index [{index}], or upstream as a whole, is not available: Search rejected due to"
                in (failure.cause.reason)
            )


class TestMappings:
    async def test_an_index_that_a_write_of_others_has_made(
        self, proxy: Watched, call: Call, index: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its documents are read, but nothing is written to it, because of its unknown mapping."""
        await proxy.store.create(endpoint("a"))
        call("DELETE", f"/{index}")
        call("PUT", f"/{index}/_doc/a?refresh=true", DOCUMENT)
        await proxy.store.refresh()
        assert set(proxy.configs) == {"a"}
        problem = (
            f"the index [{index}] was not made by the proxy: its field [format] is [long], not [byte]; "
            "delete it and have it made again, or set registry.index to another"
        )
        assert told(caplog) == [problem]
        failure = await refusal(proxy.store.create(endpoint("b")))
        assert (failure.status, failure.cause.reason.partition(" cannot be written: ")[2]) == (500, problem)
        await proxy.store.refresh()
        assert told(caplog) == [problem]
        await proxy.store.delete("a", proxy.version("a"))  # so that it can be emptied
        assert proxy.configs == {}

    @pytest.mark.parametrize("document", [None, {"anything": 1}])
    async def test_one_whose_mapping_can_be_completed(
        self, proxy: Watched, call: Call, index: str, document: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        if document is None:
            call("PUT", f"/{index}")
        else:
            call("PUT", f"/{index}/_doc/x?refresh=true", document)
        await proxy.store.create(endpoint("a", api_key="sesame"))
        assert set(proxy.configs) == {"a"}
        (made,) = call("GET", f"/{index}").values()
        assert made["mappings"]["dynamic"] == "strict"
        assert made["mappings"]["properties"]["service_settings"] == {"type": "object", "enabled": False}
        assert (
            told(caplog)[0] == f"the index [{index}] was not made by the proxy; the mapping was added to it"
        )

    async def test_one_of_the_same_numbers_with_other_documents(
        self, proxy: Watched, elasticsearch: RunningElasticsearch, call: Call, index: str
    ) -> None:
        """The first document of every index has the sequence number 0."""
        await proxy.store.create(endpoint("a"))
        first = proxy.version("a")
        call("DELETE", f"/{index}")
        async with Watched(index_store(elasticsearch.url, index)) as other:
            await other.store.create(endpoint("a", top_n=7))
        late = await refusal(proxy.store.replace(endpoint("a", top_n=1), first))
        assert late.status == 409
        assert proxy.configs == {"a": endpoint("a", top_n=7)}

    async def test_an_alias_of_one_index(self, proxy: Watched, call: Call, index: str) -> None:
        call("PUT", f"/{index}-of-alias-1", {"mappings": MAPPINGS, "aliases": {index: {}}})
        await proxy.store.create(endpoint("a"))
        await proxy.store.delete("a", proxy.version("a"))
        assert proxy.configs == {}

    async def test_an_alias_of_two_indices(self, proxy: Watched, call: Call, index: str) -> None:
        for number in (1, 2):
            call("PUT", f"/{index}-of-alias-{number}", {"mappings": MAPPINGS, "aliases": {index: {}}})
        failure = await refusal(proxy.store.create(endpoint("a")))
        assert failure.status == 500
        assert (
            f"the index [{index}] was not made by the proxy: it is a name for 2 indices"
            in failure.cause.reason
        )
        call("PUT", f"/{index}-of-alias-1/_doc/a?refresh=true", DOCUMENT)
        assert (await refusal(proxy.store.refresh())).status == 500


class TestDocuments:
    async def test_those_that_no_parser_takes_leave_the_others(
        self, proxy: Watched, call: Call, index: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        await proxy.store.create(endpoint("a"))
        deep = b'{"format": 1, "service_settings": {"x": %b%b}}' % (b"[" * 990, b"]" * 990)
        call("PUT", f"/{index}/_doc/deep", deep)
        call("PUT", f"/{index}/_doc/less-deep", deep.replace(b"[" * 500, b"").replace(b"]" * 500, b""))
        call("PUT", f"/{index}/_doc/huge", {"format": 1, "internal": {"x": "y" * 9 * 2**20}})
        large = b'{"format": 1, "internal": {"x": "%b"}}' % (b"y" * 2 * 2**20)
        call("PUT", f"/{index}/_doc/large", large)
        for number in range(30):
            call("PUT", f"/{index}/_doc/{number}", {**DOCUMENT, "inference_id": str(number)})
        call("POST", f"/{index}/_refresh")
        await proxy.store.refresh()
        assert set(proxy.configs) == {"a", *map(str, range(30))}
        assert sorted(told(caplog)) == [
            f"inference endpoint [{id_}] of the registry is damaged and left out until it is repaired: {why}"
            for id_, why in (
                ("deep", "it is nested too deeply"),
                ("huge", "it takes more than 8388608 bytes"),
                ("large", f"it takes {len(large)} bytes, more than 1048576"),
                ("less-deep", "its [inference_id] is not a string"),
            )
        ]
        await proxy.store.create(endpoint("b"))
        assert "b" in proxy.configs

    @pytest.mark.parametrize("inference_id", [*ODD_IDS, "x" * 512])
    async def test_any_id(
        self, proxy: Watched, elasticsearch: RunningElasticsearch, index: str, inference_id: str
    ) -> None:
        await proxy.store.create(endpoint(inference_id, api_key="sesame"))
        async with Watched(index_store(elasticsearch.url, index)) as other:
            assert other.configs == {inference_id: endpoint(inference_id, api_key="sesame")}
            await other.store.replace(endpoint(inference_id, top_n=3), other.version(inference_id))
            await other.store.delete(inference_id, other.version(inference_id))
            assert other.configs == {}
