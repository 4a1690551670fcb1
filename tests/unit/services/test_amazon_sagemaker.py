"""SageMaker's signatures and targets."""

import hashlib
import hmac
from typing import Any

import msgspec
import pytest

from rerank_proxy.inference.failures import InferenceFailedError
from rerank_proxy.inference.ranking import RerankRequest
from rerank_proxy.services import RemoteService, amazon_sagemaker
from tests.support.remote import Remote, remote_case
from tests.support.vendors import CASES
from tests.support.vendors.cases import SECRET_KEY

CASE = next(case for case in CASES if case.service == "amazon_sagemaker")


def service(**settings: Any) -> RemoteService:
    found = Remote(**{"allowed_hosts": ["vendors"], **settings}).services["amazon_sagemaker"]
    assert isinstance(found, RemoteService)
    return found


def settings(**more: Any) -> dict[str, Any]:
    return {**CASE.settings(""), **more}


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("us-east-1", "runtime.sagemaker.us-east-1.amazonaws.com"),
        ("cn-north-1", "runtime.sagemaker.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_regions(region: str, host: str) -> None:
    sagemaker = service()
    config = sagemaker.parse("mine", settings(region=region), {})
    assert sagemaker.url(config) == f"https://{host}/endpoints/my-endpoint/invocations"


@pytest.mark.parametrize("region", ["evil.com/", "us east", "US", "a@b"])
def test_what_is_not_a_region(region: str) -> None:
    with pytest.raises(InferenceFailedError, match=r"\[region\] must be the code of a region"):
        service().parse("mine", settings(region=region), {})


def test_without_botocore_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amazon_sagemaker, "find_spec", lambda name: None)
    with pytest.raises(InferenceFailedError, match=r"pip install 'rerank-proxy\[sagemaker\]'"):
        service().parse("mine", settings(), {})


async def test_the_signature_is_that_of_the_request() -> None:
    """Recomputed here by the rules of AWS's documentation (Signature Version 4)."""
    async with remote_case(CASE) as (remote, vendor, endpoint):
        request = RerankRequest("q", ["a 1"], 1, True, endpoint.config.task_settings)
        await endpoint.rank(request, remote.deadline())
        headers = {name.lower(): value for name, value in vendor.headers[0].items()}
        assert headers["x-amzn-sagemaker-target-model"] == "model.tar.gz"
        _, _, rest = headers["authorization"].partition("AWS4-HMAC-SHA256 ")
        parts = dict(part.split("=", 1) for part in rest.split(", "))
        scope = parts["Credential"].removeprefix("AKIDEXAMPLE/")
        names = parts["SignedHeaders"].split(";")
        assert {"host", "x-amz-date", "x-amzn-sagemaker-target-model"} <= set(names)
        signed = "".join(f"{name}:{headers[name]}\n" for name in names)
        body = hashlib.sha256(msgspec.json.encode(vendor.seen[0])).hexdigest()
        canonical = f"POST\n{CASE.wire.path}\n\n{signed}\n{';'.join(names)}\n{body}"
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{headers['x-amz-date']}\n{scope}\n{hashed}"
        key = f"AWS4{SECRET_KEY}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        assert scope.split("/")[1:] == ["us-east-1", "sagemaker", "aws4_request"]
        assert parts["Signature"] == hmac.digest(key, text.encode(), "sha256").hex()


async def test_task_settings_go_along_as_they_are() -> None:
    async with remote_case(CASE) as (remote, vendor, endpoint):
        request = RerankRequest("q", ["a 1"], None, None, endpoint.config.task_settings)
        await endpoint.rank(request, remote.deadline())
        assert vendor.seen[0] == {"query": "q", "input": ["a 1"], "task_settings": {"anything": {"goes": 1}}}
        more = RerankRequest("q", ["a 1"], task_settings={"more": [1]})
        completed = remote.services["amazon_sagemaker"].complete(endpoint.config, more)
        assert completed.task_settings == {"anything": {"goes": 1}, "more": [1]}


async def test_batches_are_as_large_as_the_endpoint_says() -> None:
    async with remote_case(CASE) as (remote, vendor, _):
        endpoint = remote.endpoint("amazon_sagemaker", settings(batch_size=2), {})
        await endpoint.scores("q", ["a 1"] * 5, remote.deadline())
        assert sorted(len(body["input"]) for body in vendor.seen) == [1, 2, 2]
