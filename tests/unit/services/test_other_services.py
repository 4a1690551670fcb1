"""What only one service does, where that is little."""

from typing import Any

import pytest

from rerank_proxy.inference.failures import InferenceFailedError
from rerank_proxy.inference.ranking import RerankRequest
from rerank_proxy.services import RemoteService
from tests.support.remote import Remote, remote_case
from tests.support.vendors import CASES, Case
from tests.support.vendors.wires import KEY


def case(name: str) -> Case:
    return next(each for each in CASES if each.name == name)


def service(name: str, **settings: Any) -> RemoteService:
    found = Remote(**{"allowed_hosts": ["*"], **settings}).services[name]
    assert isinstance(found, RemoteService)
    return found


def url(name: str, service_settings: dict[str, Any], **settings: Any) -> str:
    found = service(name, **settings)
    return found.url(found.parse("mine", {"api_key": KEY, **service_settings}, {}))


async def test_a_model_that_compares_documents_is_never_given_a_part_of_them() -> None:
    settings = {"jinaai": 3}
    async with remote_case(case("jinaai"), max_documents=settings) as (remote, vendor, _):
        endpoint = remote.endpoint("jinaai", {"api_key": KEY, "model_id": "jina-reranker-v3"})
        assert len((await endpoint.scores("q", ["a 1"] * 3, remote.deadline())).values) == 3
        with pytest.raises(InferenceFailedError) as raised:
            await endpoint.scores("q", ["a 1"] * 4, remote.deadline())
        assert raised.value.status == 400
        assert str(raised.value) == (
            "Inference endpoint [mine] takes at most [3] inputs at once, not [4]: model [jina-reranker-v3] "
            "compares them with each other, so that they cannot be split. Send fewer, or reduce "
            "rank_window_size"
        )
        assert len(vendor.seen) == 1


def test_keys_of_atlas_have_a_server_of_their_own() -> None:
    settings = {"model_id": "rerank-2.5"}
    assert url("voyageai", {**settings}) == "https://api.voyageai.com/v1/rerank"
    assert url("voyageai", {**settings, "api_key": "al-1"}) == "https://ai.mongodb.com/v1/rerank"
    gateway = {"base_urls": {"voyageai": "https://gateway/voyage/"}}
    assert url("voyageai", {**settings, "api_key": "al-1"}, **gateway) == "https://gateway/voyage/v1/rerank"


async def test_a_smaller_batch_size_of_the_server_is_explained() -> None:
    async with remote_case(case("hugging_face")) as (remote, vendor, endpoint):
        vendor.most = 16
        with pytest.raises(InferenceFailedError) as raised:
            await endpoint.scores("q", ["a 1"] * 20, remote.deadline())
        assert raised.value.status == 422
        assert str(raised.value) == (
            "Received an unsuccessful status code for request from inference entity id [mine] status [422]. "
            "Error message: [batch size 20 > maximum allowed batch size 16. Set [remote.max_documents] of "
            "[hugging_face] to what the server takes at once, or start it with a larger "
            "[--max-client-batch-size]]"
        )


@pytest.mark.parametrize(
    ("target", "called"),
    [
        ("https://x.models.ai.azure.com", "https://x.models.ai.azure.com/v1/rerank"),
        ("https://x.models.ai.azure.com/", "https://x.models.ai.azure.com/v1/rerank"),
        (
            "https://x.services.ai.azure.com/providers/cohere/v2/rerank",
            "https://x.services.ai.azure.com/providers/cohere/v2/rerank",
        ),
    ],
)
def test_targets_of_azure(target: str, called: str) -> None:
    settings = {"target": target, "provider": "cohere", "endpoint_type": "token"}
    assert url("azureaistudio", settings, allowed_hosts=["vendors"]) == called


def test_kinds_of_endpoints_of_azure() -> None:
    azure = service("azureaistudio")
    for kind, header in (("token", KEY), ("realtime", f"Bearer {KEY}")):
        settings = {"api_key": KEY, "target": "https://x.com", "provider": "cohere", "endpoint_type": kind}
        assert azure.headers(azure.parse("mine", settings, {})) == {"Authorization": header}
    with pytest.raises(InferenceFailedError, match=r"\[endpoint_type\] must be one of \[realtime, token\]"):
        azure.parse("mine", {**settings, "endpoint_type": "x"}, {})


def test_an_address_of_alibaba_cloud() -> None:
    settings = {"host": "x.opensearch.aliyuncs.com", "workspace": "a/../b", "service_id": "ops bge"}
    assert url("alibabacloud-ai-search", settings, allowed_hosts=["vendors"]) == (
        "https://x.opensearch.aliyuncs.com/v3/openapi/workspaces/a%2F..%2Fb/ranker/ops%20bge"
    )
    with pytest.raises(InferenceFailedError, match=r"\[host\] cannot be used: it is not the name of a host"):
        url("alibabacloud-ai-search", {**settings, "host": "evil.com/x?"}, allowed_hosts=["vendors"])


@pytest.mark.parametrize(("settings", "top_n"), [({"top_n": 2}, 2), ({"top_k": 3}, 3), ({}, None)])
async def test_both_names_of_contextuals_limit(settings: dict[str, Any], top_n: int | None) -> None:
    async with remote_case(case("contextualai")) as (remote, vendor, _):
        endpoint = remote.endpoint("contextualai", {"api_key": KEY, "model_id": "m"}, settings)
        assert endpoint.top_n == top_n
        contextual = remote.services["contextualai"]
        request = contextual.complete(endpoint.config, RerankRequest("q", ["a 1"] * 5))
        await endpoint.rank(request, remote.deadline())
        assert vendor.seen[0].get("top_n") == top_n


async def test_tasks_may_be_instructed() -> None:
    async with remote_case(case("contextualai")) as (remote, vendor, endpoint):
        await endpoint.scores("q", ["a 1"], remote.deadline())
        assert vendor.seen[0]["instruction"] == "Prefer what is new."


async def test_parameters_of_watsonx() -> None:
    async with remote_case(case("watsonxai")) as (remote, vendor, endpoint):
        request = RerankRequest("q", ["a 1"], 1, True, endpoint.config.task_settings)
        await endpoint.rank(request, remote.deadline())
        token, body = vendor.seen
        assert token["form"] == {"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "apikey": KEY}
        assert body == {
            "model_id": "cross-encoder/ms-marco-minilm-l-12-v2",
            "query": "q",
            "inputs": [{"text": "a 1"}],
            "project_id": "p",
            "parameters": {"truncate_input_tokens": 100, "return_options": {"inputs": True, "top_n": 1}},
        }


async def test_a_key_that_iam_does_not_know() -> None:
    async with remote_case(case("watsonxai")) as (remote, vendor, endpoint):
        vendor.token_faults.append(400)
        with pytest.raises(InferenceFailedError) as raised:
            await endpoint.scores("q", ["a 1"], remote.deadline())
        assert str(raised.value) == (
            "Received a bad request status code for request from inference entity id [mine] status [400]. "
            "Error message: [invalid_grant: no]"
        )
