"""No text has secrets of endpoints: none is put there, and what a vendor repeats is hidden."""

import json
import logging

import pytest

from rerank_proxy.inference.endpoints import Endpoint
from rerank_proxy.inference.failures import InferenceFailedError
from rerank_proxy.services import RemoteService, RerankRequest
from tests.support.remote import Remote, remote_case
from tests.support.vendors import CASES, Case
from tests.support.vendors.raw import KEEP, http, once, serving_raw

each_service = pytest.mark.parametrize("case", CASES, ids=str)


def everything(failure: BaseException | None) -> str:
    """Return all texts of an error and of its causes."""
    text = ""
    while failure is not None:
        body = json.dumps(failure.body()) if isinstance(failure, InferenceFailedError) else ""
        text += f"{failure!r} {failure} {body}"
        failure = failure.__cause__ or failure.__context__
    return text


async def failure(remote: Remote, endpoint: Endpoint) -> InferenceFailedError:
    request = RerankRequest("q", ["a 1"], task_settings=endpoint.config.task_settings)
    with pytest.raises(InferenceFailedError) as raised:
        await endpoint.rank(request, remote.deadline())
    return raised.value


@each_service
async def test_what_a_vendor_repeats_is_hidden(case: Case) -> None:
    async with remote_case(case) as (remote, vendor, endpoint):
        for status in (400, 429, 500, 401):
            vendor.faults.clear()
            vendor.fails(*[status] * 20, message=f"key {case.secret} of 'Bearer {case.secret}' is bad")
            refusal = await failure(remote, endpoint)
            assert case.secret not in everything(refusal)
            assert "key *** of" in str(refusal)


@each_service
async def test_what_is_made_here_holds_none(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    """Errors of every kind, the log at its most talkative, and what debuggers print."""
    caplog.set_level(logging.DEBUG)
    answers = [
        (),
        (b"no HTTP",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"{"),
        (http(b"{}"), KEEP),
        (http(b"{}", "Content-Encoding: br"), KEEP),
        (http(b"", "Location: /x", status="302 X"), KEEP),
        (http(b"", status="404 X"), KEEP),
    ]
    async with serving_raw() as vendor:
        gateways = {case.service: vendor.url} if case.by_base_url else {}
        remote = Remote(base_urls=gateways, retry_total_s=0)
        endpoint = remote.endpoint(case.service, case.settings(vendor.url), case.task_settings)
        texts = [repr(endpoint), json.dumps(endpoint.config.document())]
        for answer in answers:
            vendor.scripts = [once(*answer)]
            texts.append(everything(await failure(remote, endpoint)))
        service = remote.services[case.service]
        assert isinstance(service, RemoteService)
        call = RerankRequest("q", ["a"], None, None, case.task_settings)
        texts.append(repr(await service.call(endpoint.config, call, remote.deadline())))
        await remote.client.close()
    secrets = [*_values(endpoint.config.secrets), case.secret]
    assert secrets
    for secret in secrets:
        assert secret not in "".join(texts) + caplog.text


def _values(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in _values(item)]
    return [str(value)]


@pytest.mark.parametrize("stand_in", ["a", "1", "token", "none", "documents"])
async def test_a_stand_in_for_a_key_spoils_no_message(stand_in: str) -> None:
    case = next(case for case in CASES if case.service == "hugging_face")
    message = "less than 512 tokens in 11 documents, none of them a token"
    async with serving_raw() as vendor:
        remote = Remote()
        endpoint = remote.endpoint(case.service, {**case.settings(vendor.url), "api_key": stand_in})
        vendor.scripts = [once(http(json.dumps({"error": message}).encode(), status="400 X"), KEEP)]
        assert f"Error message: [{message}]" in str(await failure(remote, endpoint))
        await remote.client.close()
