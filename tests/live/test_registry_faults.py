"""Faults between the proxy and Elasticsearch while an endpoint is kept in an index, at each request."""

import uuid
from collections.abc import Iterator

import pytest

from rerank_proxy.inference.failures import InferenceFailedError
from rerank_proxy.settings import EndpointSettings
from testbed import RunningElasticsearch
from tests.live.test_index_store import index_store
from tests.support.endpoints import local_endpoints
from tests.support.fault_hop import Fault, FaultHop, fault_hop
from tests.support.search_app import ENDPOINT, NumberAtTheEnd, search_app
from tests.support.stores import Watched, endpoint

LOST = (
    Fault("request", "the head", "reset"),
    Fault("request", "all", "end"),
    Fault("answer", "none", "reset"),
    Fault("answer", "within the head", "end"),
)
"""The connection is lost before there is a whole head."""
FAULTS = (
    *LOST,
    Fault("answer", "none", "garbage"),
    Fault("answer", "within the body", "reset"),
    Fault("answer", "none", "trickle"),
)


@pytest.fixture
def index(elasticsearch: RunningElasticsearch) -> Iterator[str]:
    name = f"test-registry-{uuid.uuid4().hex[:12]}"
    yield name
    elasticsearch.server.call("DELETE", f"/{name}")


async def outcome(store: Watched, action: str, inference_id: str) -> int:
    """Create, replace or delete an endpoint. Return the status."""
    try:
        if action == "create":
            await store.store.create(endpoint(inference_id))
        elif action == "replace":
            await store.store.replace(endpoint(inference_id, top_n=2), store.version(inference_id))
        else:
            await store.store.delete(inference_id, store.version(inference_id))
    except InferenceFailedError as failure:
        return failure.status
    return 200


@pytest.mark.parametrize("action", ["create", "replace", "delete"])
async def test_each_write_is_sent_once(elasticsearch: RunningElasticsearch, index: str, action: str) -> None:
    method = b"DELETE" if action == "delete" else b"PUT"
    async with (
        fault_hop(elasticsearch.url) as hop,
        Watched(index_store(hop.url, index)) as store,
        Watched(index_store(elasticsearch.url, index)) as other,
    ):
        await store.store.create(endpoint("first"))
        for number_of_fault, fault in enumerate(FAULTS):
            for number in range(3):
                inference_id = f"mine-{number_of_fault}-{number}"
                if action != "create":
                    await store.store.create(endpoint(inference_id))
                hop.arm(fault, number)
                status = await outcome(store, action, inference_id)
                writes = [each for each in hop.exchanges if each.head.startswith(method)]
                assert len(writes) <= 1, (fault, number)
                assert status == 200 or (status == 502 and not harmless(hop, fault)), (fault, number)
                await other.store.refresh()
                await store.store.refresh()
                assert set(store.all) == set(other.all)
                assert is_done(store, action, inference_id) == (status == 200), (fault, number)


def is_done(store: Watched, action: str, inference_id: str) -> bool:
    if action == "replace":
        return store.configs[inference_id].task_settings == {"top_n": 2}
    return (inference_id in store.all) == (action == "create")


def harmless(hop: FaultHop, fault: Fault) -> bool:
    """Return whether the write succeeds: all of the answer comes, or what was struck is sent again."""
    struck = hop.struck
    if struck is None or fault.act == "trickle" or hop.exchanges.index(struck) > last_before_the_answer(hop):
        return True
    return struck.head.startswith((b"GET", b"POST")) and fault in LOST


def last_before_the_answer(hop: FaultHop) -> int:
    """Return the place of the write; what follows is read back, which the client does not need."""
    for place, each in enumerate(hop.exchanges):
        if each.head.startswith((b"PUT", b"DELETE")):
            return place
    return len(hop.exchanges)


NEW = {
    "service": "elasticsearch",
    "service_settings": {"model_id": "m", "num_allocations": 1, "num_threads": 1},
}


async def test_a_put_over_http(elasticsearch: RunningElasticsearch, index: str) -> None:
    """The endpoint is there exactly if the client is told so, whichever request upstream meets the fault."""
    async with (
        fault_hop(elasticsearch.url) as hop,
        Watched(index_store(elasticsearch.url, index)) as other,
    ):
        store = index_store(hop.url, index)
        settings = {ENDPOINT: EndpointSettings(model="m")}
        endpoints = local_endpoints(settings, NumberAtTheEnd(), store=store)
        async with search_app(hop.url, endpoints=endpoints) as app:
            hop.arm()
            assert (await app.call("PUT", "/_inference/rerank/first", NEW)).status == 200
            asked = len(hop.exchanges)
            told = set()
            for number_of_fault, fault in enumerate(FAULTS):
                for number in range(asked):
                    target = f"/_inference/rerank/mine-{number_of_fault}-{number}"
                    hop.arm(fault, number)
                    answer = await app.call("PUT", target, NEW)
                    told.add(answer.status)
                    if answer.status != 200:
                        assert answer.json()["error"]["reason"]
                    await other.store.refresh()
                    stored = f"mine-{number_of_fault}-{number}" in other.all
                    assert stored == (answer.status == 200), (fault, number, answer)
                    hop.arm()
                    assert ((await app.call("GET", target)).status == 200) == stored
            assert told == {200, 502}
