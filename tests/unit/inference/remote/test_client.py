"""What the client ensures against servers that break the protocol."""

import asyncio

import pytest
from aiohttp import web

from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.inference.endpoints import Endpoint
from rerank_proxy.inference.failures import InferenceFailedError
from rerank_proxy.inference.remote.calls import form_call
from rerank_proxy.inference.remote.client import RemoteClient
from rerank_proxy.inference.remote.limits import TOKEN_LIMIT
from rerank_proxy.settings import RemoteSettings
from tests.support.raw_http import unconnectable
from tests.support.remote import Remote, remote_case
from tests.support.vendors import CASES, Case, Vendor

TEI = next(case for case in CASES if case.service == "hugging_face")
COHERE = next(case for case in CASES if case.name == "cohere")
TEXTS = ["a 1", "b 2"]
KEY = "sk-0123456789"


async def failure(endpoint: Endpoint, deadline_s: float = 30.0) -> InferenceFailedError:
    deadline = Deadline.of_setting("search.timeout_s", deadline_s)
    with pytest.raises(InferenceFailedError) as raised:
        await endpoint.scores("q", TEXTS, deadline)
    return raised.value


async def test_redirections_are_not_followed() -> None:
    async with remote_case(TEI) as (_, vendor, endpoint):

        async def redirect(request: web.Request, asked: object) -> web.StreamResponse:
            return web.Response(status=307, headers={"Location": f"{vendor.url}/elsewhere"})

        vendor.faults.append(redirect)
        refusal = await failure(endpoint)
        assert refusal.status == 400
        assert str(refusal) == (
            "Unhandled redirection for request from inference entity id [mine] status [307]"
        )


async def test_an_answer_that_is_too_large() -> None:
    async with remote_case(TEI, max_answer=1000) as (_, vendor, endpoint):
        vendor.says(b"[" + b" " * 1000 + b"]")
        refusal = await failure(endpoint)
        assert refusal.status == 400
        assert str(refusal).endswith("it is larger than [remote.max_answer: 1000] bytes")


async def test_environment_variables_name_no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")
    async with remote_case(TEI) as (remote, _, endpoint):
        assert (await endpoint.scores("q", TEXTS, remote.deadline())).values == [1, 2]


async def test_nothing_listens() -> None:
    remote = Remote(retry_total_s=0)
    endpoint = remote.endpoint("hugging_face", {"api_key": KEY, "url": "http://127.0.0.1:9/rerank"})
    refusal = await failure(endpoint)
    await remote.client.close()
    assert refusal.status == 400
    assert str(refusal) == (
        "Failed to send request from inference entity id [mine] to [http://127.0.0.1:9/rerank]: "
        "connection refused"
    )
    assert remote.metric("calls_total", service="hugging_face", outcome="no_answer") == 1


async def test_no_connection_in_time() -> None:
    with unconnectable() as port:
        remote = Remote(retry_total_s=0, connect_timeout_s=0.05)
        endpoint = remote.endpoint("hugging_face", {"api_key": KEY, "url": f"http://127.0.0.1:{port}/rerank"})
        refusal = await failure(endpoint)
        await remote.client.close()
    assert str(refusal).endswith("there was no connection within [remote.connect_timeout_s: 0.05s]")


async def test_a_name_of_this_machine_is_refused_when_it_is_called() -> None:
    async with remote_case(TEI) as (_, vendor, _):
        remote = Remote(allowed_hosts=["localhost"], allow_private_addresses=False)
        url = vendor.url.replace("127.0.0.1", "localhost") + "/rerank"
        refusal = await failure(remote.endpoint("hugging_face", {"api_key": KEY, "url": url}))
        await remote.client.close()
        assert refusal.status == 400
        assert str(refusal) == (
            f"Request from inference entity id [mine] to [{url}] is not allowed: [localhost] does not "
            "resolve to a public address; see [remote.allow_private_addresses]"
        )
        assert remote.clock.slept == []
        assert vendor.seen == []


@pytest.mark.parametrize("key", ["sk-1\r\nX-Evil: 1", "sk-1\nb", "sk-1\0b"])
async def test_a_secret_with_a_line_break(key: str) -> None:
    async with remote_case(TEI) as (remote, vendor, _):
        endpoint = remote.endpoint("hugging_face", {"api_key": key, "url": f"{vendor.url}/rerank"})
        refusal = await failure(endpoint)
        assert refusal.status == 400
        assert "the value of [Authorization] holds a line break" in str(refusal)
        assert vendor.seen == []


async def test_a_caller_in_a_hurry_does_not_open_the_breaker() -> None:
    async with remote_case(TEI, breaker_failures=1) as (remote, vendor, endpoint):
        released = asyncio.Event()
        vendor.hangs_until(released)
        assert (await failure(endpoint, 0.05)).status == 429
        released.set()
        assert len((await endpoint.scores("q", TEXTS, remote.deadline())).values) == 2


async def test_a_caller_who_waited_long_enough_does() -> None:
    async with remote_case(TEI, timeout_s=0.05, breaker_failures=1) as (_, vendor, endpoint):
        released = asyncio.Event()
        vendor.hangs_until(released)
        assert (await failure(endpoint, 0.3)).status == 429
        released.set()
        assert "is not called at present" in str(await failure(endpoint))


async def test_a_caller_that_leaves_ends_its_calls() -> None:
    async with remote_case(TEI, max_documents={"hugging_face": 1}) as (remote, vendor, endpoint):
        gone, arrived = asyncio.Event(), asyncio.Semaphore(0)

        async def hang(request: web.Request, asked: object) -> web.StreamResponse:
            arrived.release()
            await gone.wait()
            return web.Response()

        vendor.faults += [hang, hang]
        caller = asyncio.create_task(endpoint.scores("q", TEXTS, remote.deadline()))
        await arrived.acquire()
        await arrived.acquire()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        gone.set()
        assert remote.metric("calls_total", service="hugging_face", outcome="abandoned") == 2


async def test_one_failing_call_ends_the_others_of_its_search() -> None:
    async with remote_case(TEI, max_documents={"hugging_face": 1}) as (remote, vendor, endpoint):
        gone, arrived = asyncio.Event(), asyncio.Event()

        async def hang(request: web.Request, asked: object) -> web.StreamResponse:
            arrived.set()
            await gone.wait()
            return web.Response()

        async def refuse(request: web.Request, asked: object) -> web.StreamResponse:
            await arrived.wait()
            return web.json_response({"error": "no"}, status=400)

        vendor.faults += [hang, refuse]
        assert (await failure(endpoint)).status == 400
        gone.set()
        assert remote.metric("calls_total", service="hugging_face", outcome="abandoned") == 1


async def test_no_more_calls_at_once_than_allowed() -> None:
    limits = {"max_documents": {"hugging_face": 1}, "parallel_calls": 3}
    async with remote_case(TEI, **limits) as (remote, vendor, endpoint):  # type: ignore[arg-type]
        arrived, released = asyncio.Semaphore(0), asyncio.Event()

        async def hold(request: web.Request, asked: object) -> web.StreamResponse:
            arrived.release()
            await released.wait()
            return web.json_response([{"index": 0, "score": 1.0}])

        vendor.faults += [hold] * 12
        texts = [f"t {number}" for number in range(12)]
        caller = asyncio.create_task(endpoint.scores("q", texts, remote.deadline()))
        for _ in range(3):
            await arrived.acquire()
        # A fourth call would have been sent before this one, and be there before it.
        call = form_call(f"{vendor.url}/token", {"grant_type": "any"})
        await remote.client.send("x", call, TOKEN_LIMIT)
        assert arrived.locked()
        released.set()
        assert len((await caller).values) == 12


def test_limits_are_shared_by_account_and_model_and_forgotten_with_them() -> None:
    client = RemoteClient(RemoteSettings())
    first = client.rate_limit("cohere", "account", "model")
    assert client.rate_limit("cohere", "account", "model") is first
    assert client.rate_limit("cohere", "account", "other") is not first
    assert client.rate_limit("jinaai", "account", "model") is not first
    del first
    assert not client._limits


def seen_headers(vendor: Vendor) -> set[str]:
    return {name.lower() for name in vendor.headers[0]}


@pytest.mark.parametrize("case", [TEI, COHERE], ids=str)
async def test_no_header_tells_more_than_needed(case: Case) -> None:
    async with remote_case(case) as (remote, vendor, endpoint):
        await endpoint.scores("q", TEXTS, remote.deadline())
        known = {"host", "authorization", "content-type", "content-length", "accept", "user-agent"}
        assert seen_headers(vendor) - known <= {"request-source", "accept-encoding"}
        assert vendor.headers[0]["Accept-Encoding"] == "identity"
