"""Cohere's two versions."""

from dataclasses import replace
from typing import Any

import pytest

from rerank_proxy.inference.failures import InferenceFailedError
from rerank_proxy.inference.ranking import RerankRequest
from rerank_proxy.services.cohere import CohereService
from tests.support.remote import Remote, remote_case
from tests.support.vendors import CASES
from tests.support.vendors.wires import KEY

V1, V2 = (next(case for case in CASES if case.name == name) for name in ("cohere-v1", "cohere"))
ANY_HOST = {"allowed_hosts": ["*"]}


def service(**settings: Any) -> CohereService:
    found = Remote(**{**ANY_HOST, **settings}).services["cohere"]
    assert isinstance(found, CohereService)
    return found


@pytest.mark.parametrize(
    ("settings", "url", "version"),
    [
        ({"model_id": "m"}, "https://api.cohere.com/v2/rerank", "V2"),
        ({"model_id": "m", "url": "https://a.com"}, "https://a.com/v2/rerank", "V2"),
        ({"model_id": "m", "url": "https://a.com/x/"}, "https://a.com/x/v2/rerank", "V2"),
        ({"model_id": "m", "url": "https://a.com/v2/rerank"}, "https://a.com/v2/rerank", "V2"),
        ({"model_id": "m", "url": "https://a.com/my/rerank"}, "https://a.com/my/rerank", "V2"),
        ({"url": "https://a.com/v1/rerank"}, "https://a.com/v1/rerank", "V1"),
    ],
)
def test_urls_and_versions(settings: dict[str, Any], url: str, version: str) -> None:
    cohere = service()
    config = cohere.parse("mine", {"api_key": KEY, **settings}, {})
    assert cohere.url(config) == url
    assert config.internal == {"api_version": version}
    assert "api_version" not in str(config.document())


def test_an_endpoint_of_version_1_stays_such() -> None:
    cohere = service()
    config = cohere.parse("mine", {"api_key": KEY, "model_id": "m"}, {})
    old = replace(config, internal={"api_version": "V1"})
    assert cohere.url(old) == "https://api.cohere.com/v1/rerank"
    updated = cohere.update(old, {"api_key": "another-key"}, {"top_n": 3})
    assert updated.internal == {"api_version": "V1"}
    assert (updated.secrets, updated.task_settings) == ({"api_key": "another-key"}, {"top_n": 3})


@pytest.mark.parametrize(("chunks", "limit"), [(5, 1000), (10, 1000), (40, 250), (20_000, 1)])
def test_version_1_limits_documents_times_chunks(chunks: int, limit: int) -> None:
    cohere = service()
    settings = {"api_key": KEY, "model_id": "m"}
    task = {"max_chunks_per_doc": chunks}
    old = cohere.parse("mine", {**settings, "url": "https://a.com/v1/rerank"}, task)
    assert cohere.max_documents(old) == limit
    assert cohere.max_documents(cohere.parse("mine", settings, task)) == 1000


def test_version_2_needs_a_model() -> None:
    with pytest.raises(InferenceFailedError) as raised:
        service().parse("mine", {"api_key": KEY}, {})
    assert str(raised.value) == (
        "Validation Failed: 1: [service_settings] does not contain the required setting [model_id];"
    )


def test_leftovers_of_older_versions_are_dropped() -> None:
    settings = {
        "api_key": KEY,
        "model_id": "m",
        "similarity": "cosine",
        "dimensions": 3,
        "max_input_tokens": 5,
    }
    config = service().parse("mine", settings, {})
    assert config.service_settings == {"model_id": "m", "rate_limit": {"requests_per_minute": 10_000}}


async def test_all_that_is_sent() -> None:
    async with remote_case(V1) as (remote, vendor, endpoint):
        request = RerankRequest("q", ["a 1"], 1, True, {"max_chunks_per_doc": 5})
        (doc,) = await endpoint.rank(request, remote.deadline())
        assert (doc.index, doc.relevance_score, doc.text) == (0, 1.0, "a 1")
        (body,) = vendor.seen
        assert body == {
            "query": "q",
            "documents": ["a 1"],
            "return_documents": True,
            "top_n": 1,
            "max_chunks_per_doc": 5,
        }
