"""What holds for every remote service, each over its vendor's wire on a real socket."""

import asyncio
import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.endpoints import Endpoint
from rerank_proxy.inference.failures import InferenceFailedError
from rerank_proxy.inference.ranking import RankedDoc, RerankRequest
from rerank_proxy.inference.remote.service import RemoteService
from rerank_proxy.search.ranks.ranking import RankDoc, rank
from rerank_proxy.services.built_in import BUILT_IN
from rerank_proxy.xcontent.time_value import TimeValue
from tests.support.pages import read
from tests.support.project import ROOT
from tests.support.remote import Remote, remote_case
from tests.support.vendors import CASES, Asked, Case, Vendor

TEXTS = ["a 0.25", "b 0.75", "c 0.5"]


def each(*cases: Case) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=str)


each_service = each(*CASES)
each_with_an_address = each(*(case for case in CASES if not case.by_base_url))


async def ranking(
    remote: Remote, endpoint: Endpoint, texts: Sequence[str] = TEXTS, **request: Any
) -> Sequence[RankedDoc]:
    service = remote.services[endpoint.config.service]
    completed = service.complete(endpoint.config, RerankRequest("q", texts, **request))
    return await endpoint.rank(completed, remote.deadline())


def pairs(ranking: Sequence[RankedDoc]) -> list[tuple[int, float]]:
    return [(doc.index, doc.relevance_score) for doc in ranking]


async def failure(remote: Remote, endpoint: Endpoint, texts: Sequence[str] = TEXTS) -> InferenceFailedError:
    with pytest.raises(InferenceFailedError) as raised:
        await ranking(remote, endpoint, texts)
    return raised.value


def rerank_requests(vendor: Vendor) -> list[dict[str, Any]]:
    return [body for body in vendor.seen if "form" not in body]


def test_every_remote_service_has_a_case() -> None:
    remote = {each.name for each in BUILT_IN if issubclass(each, RemoteService)}
    assert remote == {case.service for case in CASES}


def test_every_service_is_shown_on_the_page() -> None:
    shown = set(re.findall(r'"service": "([^"]+)"', read(ROOT / "docs" / "rerankers.md")))
    assert shown >= {each.name for each in BUILT_IN}


@each_service
async def test_a_ranking_is_the_vendors(case: Case) -> None:
    async with remote_case(case) as (remote, vendor, endpoint):
        answer = await ranking(remote, endpoint)
        assert pairs(answer) == [(1, 0.75), (2, 0.5), (0, 0.25)]
        assert len(rerank_requests(vendor)) == 1
        asked = case.wire.asked(rerank_requests(vendor)[0])
        assert (asked.query, asked.texts) == ("q", TEXTS)
        assert remote.metric("calls_total", service=case.service, outcome="2xx") == len(vendor.seen)


@each_service
async def test_what_is_not_set_is_not_sent(case: Case) -> None:
    async with remote_case(case) as (remote, vendor, endpoint):
        await ranking(remote, endpoint)
        asked = case.wire.asked(rerank_requests(vendor)[0])
        assert asked.top_n is None
        assert asked.returns in (None, False)
        assert None not in rerank_requests(vendor)[0].values()


@each_service
async def test_nothing_to_score_makes_no_call(case: Case) -> None:
    async with remote_case(case) as (remote, vendor, endpoint):
        assert pairs(await ranking(remote, endpoint, [])) == []
        assert vendor.seen == []


@each_service
async def test_top_n_of_the_request_limits_results(case: Case) -> None:
    async with remote_case(case) as (remote, _, endpoint):
        assert pairs(await ranking(remote, endpoint, top_n=2)) == [(1, 0.75), (2, 0.5)]


@each(*(case for case in CASES if case.top_n is not None))
async def test_top_n_of_the_request_is_stronger_than_that_of_the_task(case: Case) -> None:
    assert case.top_n is not None
    async with remote_case(case) as (remote, vendor, endpoint):
        service = remote.services[case.service]
        limited = service.parse("mine", case.settings(vendor.url), {**case.task_settings, case.top_n: 1})
        endpoint = Endpoint(limited, service.open(limited), service.top_n(limited))
        assert endpoint.top_n == 1
        assert len(await ranking(remote, endpoint)) == 1
        assert len(await ranking(remote, endpoint, top_n=2)) == 2


@each_service
@pytest.mark.parametrize("size", [3, 7])
async def test_texts_that_are_asked_for_come(case: Case, size: int) -> None:
    texts = [f"t {number}" for number in range(size)]
    async with remote_case(case, max_documents={case.service: 3}) as (remote, _, endpoint):
        answer = await ranking(remote, endpoint, texts, return_documents=True)
        assert [doc.text for doc in answer] == texts[::-1]


@each_service
async def test_texts_that_are_not_wanted_do_not_come(case: Case) -> None:
    async with remote_case(case) as (remote, _, endpoint):
        answer = await ranking(remote, endpoint, return_documents=False)
        assert {doc.text for doc in answer} == {None}


@each(*(case for case in CASES if case.returns is not None))
async def test_texts_may_be_a_matter_of_the_task(case: Case) -> None:
    assert case.returns is not None
    async with remote_case(case) as (remote, _, endpoint):
        answer = await ranking(remote, endpoint, task_settings={case.returns: True})
        assert [doc.text for doc in answer] == ["b 0.75", "c 0.5", "a 0.25"]


@each_service
async def test_more_texts_than_one_call_takes_are_split_and_merged(case: Case) -> None:
    texts = [f"t {(number * 37) % 100}" for number in range(100)]
    async with remote_case(case, max_documents={case.service: 32}) as (remote, vendor, endpoint):
        answer = await ranking(remote, endpoint, texts)
        assert sorted(len(case.wire.asked(body).texts) for body in rerank_requests(vendor)) == [4, 32, 32, 32]
        assert [texts[doc.index] for doc in answer] == [f"t {number}" for number in range(99, -1, -1)]
        limited = await ranking(remote, endpoint, texts, top_n=5)
        assert [doc.relevance_score for doc in limited] == [99, 98, 97, 96, 95]


@each_service
async def test_equal_scores_of_several_calls_keep_the_order_of_the_input(case: Case) -> None:
    async with remote_case(case, max_documents={case.service: 2}) as (remote, vendor, endpoint):
        for _ in range(3):
            vendor.ranks_as(lambda results: results[::-1])
        answer = await ranking(remote, endpoint, ["a 1"] * 5)
        assert [doc.index for doc in answer] == [0, 1, 2, 3, 4]


@each_service
async def test_the_usual_limit_of_one_call(case: Case) -> None:
    async with remote_case(case) as (remote, _, endpoint):
        service = remote.services[case.service]
        assert isinstance(service, RemoteService)
        assert service.max_documents(endpoint.config) == case.batch


@each_service
async def test_a_window_is_in_the_right_order_with_the_normaliser_applied(case: Case) -> None:
    texts = ["a -1.5", "b 0.25", "c 2.5", "d 0"]
    async with remote_case(case, max_documents={case.service: 3}) as (remote, _, endpoint):
        scores = (await endpoint.scores("q", texts, remote.deadline())).values
        window = [RankDoc("i", str(n), n, text=text) for n, text in enumerate(texts)]
        ranked = rank(window, scores, None)
        assert [doc.text for doc in ranked] == ["c 2.5", "b 0.25", "d 0", "a -1.5"]
        assert [doc.score for doc in ranked] == pytest.approx([3.5, 1.25, 1.0, math.exp(-1.5)])


@each(*(case for case in CASES if case.top_n is not None))
@pytest.mark.parametrize("batch", [2, 10])
async def test_a_search_needs_the_scores_that_a_limit_of_the_task_cuts(case: Case, batch: int) -> None:
    async with remote_case(case, max_documents={case.service: batch}) as (remote, vendor, _):
        limits = {**case.task_settings, str(case.top_n): 2}
        endpoint = remote.endpoint(case.service, case.settings(vendor.url), limits)
        with pytest.raises(InferenceFailedError, match="Expected ranked doc size to be 3, got 2") as raised:
            await endpoint.scores("q", TEXTS, remote.deadline())
        assert raised.value.status == 500


@each_service
async def test_refusals(case: Case) -> None:
    refusals = [
        (400, 400, "Received a bad request status code"),
        (401, 401, "Received an authentication error status code"),
        (403, 403, "Received a permission denied error status code"),
        (413, 413, "Received a content too large status code"),
        (422, 422, "Received an unsuccessful status code"),
        (498, 400, "Received an unsuccessful status code"),
    ]
    async with remote_case(case) as (remote, vendor, endpoint):
        for number, (status, shown, prefix) in enumerate(refusals, 1):
            vendor.fails(status, message="because")
            refusal = await failure(remote, endpoint)
            assert (refusal.status, refusal.cause.type) == (shown, "status_exception")
            assert refusal.cause.reason == (
                f"{prefix} for request from inference entity id [mine] status [{status}]. "
                "Error message: [because]"
            )
            assert len(rerank_requests(vendor)) == number


@each_service
async def test_a_path_that_the_server_does_not_have(case: Case) -> None:
    async with remote_case(case) as (remote, vendor, endpoint):
        vendor.fails(404)
        path = "/score" if case.service == "custom" else case.wire.path  # the template, not what fills it
        reason = str(await failure(remote, endpoint))
        assert reason == (
            f"Resource not found at [{vendor.url}{path}] for request from inference entity id "
            "[mine] status [404]. Error message: [no]"
        )


@each_service
async def test_a_rate_limit_is_waited_for(case: Case) -> None:
    async with remote_case(case) as (remote, vendor, endpoint):
        vendor.fails(429, retry_after="7")
        assert len(await ranking(remote, endpoint)) == 3
        assert remote.clock.slept == [7]
        assert remote.metric("retries_total", service=case.service) == 1


@each_service
async def test_failures_open_the_breaker_until_a_call_goes_well(case: Case) -> None:
    settings = {"retry_total_s": 0, "breaker_failures": 2, "breaker_pause_s": 30}
    async with remote_case(case, **settings) as (remote, vendor, endpoint):
        vendor.fails(500, 503)
        for _ in range(2):
            refusal = await failure(remote, endpoint)
            assert refusal.status == 400
            assert str(refusal).startswith("Received a server error status code for request from inference")
        asked = len(vendor.seen)
        refusal = await failure(remote, endpoint)
        assert refusal.status == 400
        assert str(refusal).startswith("Inference endpoint [mine] is not called at present")
        assert len(vendor.seen) == asked
        assert remote.metric("paused_endpoints", service=case.service) == 1
        await remote.clock.sleep(31)
        assert len(await ranking(remote, endpoint)) == 3
        assert remote.metric("paused_endpoints", service=case.service) == 0


@each_service
async def test_an_answer_that_does_not_come_in_time(case: Case) -> None:
    async with remote_case(case, timeout_s=0.05) as (_, vendor, endpoint):
        released = asyncio.Event()
        vendor.hangs_until(released)
        with pytest.raises(InferenceFailedError) as raised:
            await endpoint.scores("q", TEXTS, Deadline.of_request(TimeValue(50_000_000)))
        released.set()
        assert raised.value.status == 429
        assert str(raised.value) == "Request timed out after [50ms] for inference id [mine]"
        assert raised.value.cause.caused_by is not None
        assert raised.value.cause.caused_by.type == "timeout_exception"
        told = raised.value.cause.caused_by.reason
        assert told.endswith("] did not answer in time: [timeout: 50ms] of the request has passed")


@each_service
async def test_success_that_cannot_be_read(case: Case) -> None:
    bodies = [
        b"",
        b"<html>",
        b"{",
        b'"text"',
        b"null",
        b"{}",
        b'{"results": 1, "data": [1]}',
        b"\xff",
        b"[NaN]",
    ]
    async with remote_case(case) as (remote, vendor, endpoint):
        for body in bodies:
            vendor.says(body, content_type="text/html")
            refusal = await failure(remote, endpoint)
            assert (refusal.status, refusal.cause.type) == (400, "status_exception")
            assert str(refusal).startswith(
                "Failed to read the answer to request from inference entity id [mine] status [200]: "
            )


@each_service
async def test_another_content_type_is_read_all_the_same(case: Case) -> None:
    async with remote_case(case) as (remote, vendor, endpoint):
        honest = case.wire.answer(Asked("q", ["a", "b"]), [(1, 1.0), (0, 0.5)])
        vendor.says(json.dumps(honest).encode(), content_type="text/plain")
        assert pairs(await ranking(remote, endpoint, ["a", "b"])) == [(1, 1.0), (0, 0.5)]


@each_service
async def test_a_byte_order_mark_is_not_part_of_an_answer(case: Case) -> None:
    """Neither of a success nor of a refusal, whose reason is shown."""
    async with remote_case(case, retry_total_s=0) as (remote, vendor, endpoint):
        honest = json.dumps(case.wire.answer(Asked("q", ["a", "b"]), [(1, 1.0), (0, 0.5)]))
        for coding in ("utf-8-sig", "utf-16", "utf-16-be", "utf-32", "utf-32-be"):
            marked = honest if coding in ("utf-8-sig", "utf-16", "utf-32") else f"\ufeff{honest}"
            vendor.says(marked.encode(coding), content_type="application/json")
            assert pairs(await ranking(remote, endpoint, ["a", "b"])) == [(1, 1.0), (0, 0.5)]
        for broken in (
            b"\xef\xbb\xbf\xff{",
            b"\xff\xfe{",
            b"\xef\xbb\xbf",
            b"\xef\xbb",
            b"\xff\xfe\x00\x00\x01",
        ):
            vendor.says(broken, content_type="application/json")
            assert str(await failure(remote, endpoint)).startswith("Failed to read the answer")
        vendor.says(b'\xef\xbb\xbf{"message": "not today"}', status=400)
        assert "not today" in str(await failure(remote, endpoint))


@each_service
async def test_unusable_results(case: Case) -> None:
    not_finite = "returned a score that is not a finite number"
    useless: dict[str, tuple[list[tuple[Any, Any]], str]] = {
        "doubled": ([(0, 1.0), (0, 0.5), (1, 0.1)], "returned a result with index [0] twice"),
        "too high": ([(0, 1.0), (3, 0.5)], "returned a result with index [3] for 3 inputs"),
        "too low": ([(-1, 1.0)], "returned a result with index [-1] for 3 inputs"),
        "no float32": ([(0, 1e39)], not_finite),
    }
    async with remote_case(case) as (remote, vendor, endpoint):
        for results, reason in useless.values():
            vendor.ranks_as(lambda _, results=results: results)  # type: ignore[misc]
            assert str(await failure(remote, endpoint)) == f"Inference endpoint [mine] {reason}"


@each_service
async def test_scores_that_are_not_numbers(case: Case) -> None:
    async with remote_case(case) as (remote, vendor, endpoint):
        scores: list[Any] = [float("nan"), float("inf"), None, True, "high", "nan", "1_0", [1.0], {}]
        for score in scores:
            vendor.ranks_as(lambda _, score=score: [(0, score)])  # type: ignore[misc]
            assert str(await failure(remote, endpoint)).startswith("Failed to read the answer")


@each_service
async def test_integers_and_quoted_numbers_are_scores(case: Case) -> None:
    async with remote_case(case) as (remote, vendor, endpoint):
        vendor.ranks_as(lambda _: [(2, 3), ("0", "1.5"), (1.0, -2)])
        assert pairs(await ranking(remote, endpoint)) == [(2, 3.0), (0, 1.5), (1, -2.0)]


@each_service
async def test_unsorted_results_are_in_order_where_it_matters(case: Case) -> None:
    """One call's results keep the order of a vendor that is said to sort them; a search sorts anyway."""
    async with remote_case(case) as (remote, vendor, endpoint):
        vendor.ranks_as(sorted)
        assert (await endpoint.scores("q", TEXTS, remote.deadline())).values == [0.25, 0.75, 0.5]


@each_service
async def test_missing_results_fail_a_search(case: Case) -> None:
    async with remote_case(case) as (remote, vendor, endpoint):
        vendor.ranks_as(lambda results: results[:2])
        with pytest.raises(InferenceFailedError, match=r"Expected ranked doc size to be 3, got 2\."):
            await endpoint.scores("q", TEXTS, remote.deadline())


@each(*(case for case in CASES if not case.has_tokens))
async def test_what_may_have_been_paid_for_is_not_sent_again(case: Case) -> None:
    async with remote_case(case) as (remote, vendor, endpoint):
        vendor.breaks_off()
        refusal = await failure(remote, endpoint)
        assert refusal.status == 400
        assert str(refusal).endswith("the connection was closed before the whole answer came")
        assert len(rerank_requests(vendor)) == 1
        assert remote.clock.slept == []
        assert remote.metric("calls_total", service=case.service, outcome="no_answer") == 1


@each_service
@pytest.mark.parametrize(("query", "text"), [("\ud800", "a"), ("q", "a \udfff b")])
async def test_half_a_surrogate_pair_is_the_callers_fault(case: Case, query: str, text: str) -> None:
    async with remote_case(case) as (remote, vendor, endpoint):
        request = RerankRequest(query, [text], task_settings=endpoint.config.task_settings)
        with pytest.raises(InferenceFailedError, match="half a surrogate pair") as raised:
            await endpoint.rank(request, remote.deadline())
        assert raised.value.status == 400
        assert rerank_requests(vendor) == []


@each_service
async def test_an_endpoint_is_tried_by_one_real_call(case: Case) -> None:
    async with remote_case(case) as (remote, vendor, endpoint):
        await endpoint.ranker.check(remote.deadline())
        asked = case.wire.asked(rerank_requests(vendor)[0])
        assert (asked.query, asked.texts) == ("test query", ["how big"])


@each_service
async def test_an_endpoint_that_does_not_work_says_why(case: Case) -> None:
    async with remote_case(case) as (remote, vendor, endpoint):
        vendor.fails(401)
        with pytest.raises(InferenceFailedError) as raised:
            await endpoint.ranker.check(remote.deadline())
        assert raised.value.status == 400
        assert str(raised.value) == (
            "Could not complete inference endpoint creation as validation call to service threw an exception."
        )
        assert raised.value.cause.caused_by is not None
        assert raised.value.cause.caused_by.reason.startswith("Received an authentication error status code")


@each_with_an_address
async def test_a_host_that_is_not_allowed_is_refused_when_the_endpoint_is_made(case: Case) -> None:
    remote = Remote(allowed_hosts=["vendors"])
    with pytest.raises(InferenceFailedError) as raised:
        remote.endpoint(case.service, case.settings("http://127.0.0.1:9"), case.task_settings)
    assert (raised.value.status, raised.value.cause.type) == (400, "validation_exception")
    assert "host [127.0.0.1] is not in [remote.allowed_hosts]" in str(raised.value)


@each_with_an_address
async def test_a_private_address_is_refused(case: Case) -> None:
    remote = Remote(allowed_hosts=["*"], allow_private_addresses=False)
    with pytest.raises(InferenceFailedError, match=r"\[127\.0\.0\.1\] is not a public address"):
        remote.endpoint(case.service, case.settings("http://127.0.0.1:9"), case.task_settings)


@each_service
def test_settings_are_explained_to_people(case: Case) -> None:
    service = Remote().services[case.service]
    for setting in service.service_settings:
        assert setting.dropped or (setting.label and setting.description), setting.name
    assert service.configurations().keys() >= {
        each.name for each in service.service_settings if each.required
    }


@each_service
async def test_required_settings_are_missed(case: Case) -> None:
    remote = Remote()
    service = remote.services[case.service]
    with pytest.raises(InferenceFailedError) as raised:
        service.parse("mine", {}, {})
    assert (raised.value.status, raised.value.cause.type) == (400, "validation_exception")
    for setting in service.service_settings:
        scope = "secret_settings" if setting.secret else "service_settings"
        message = f"[{scope}] does not contain the required setting [{setting.name}]"
        by_version = (case.service, setting.name) == ("cohere", "model_id")
        assert (message in str(raised.value)) == (setting.required or by_version), setting.name


@each_service
async def test_unknown_settings_are_refused(case: Case) -> None:
    remote = Remote(allowed_hosts=["*"])
    service = remote.services[case.service]
    settings = {**case.settings("http://127.0.0.1:9"), "foo": "bar"}
    with pytest.raises(InferenceFailedError) as raised:
        service.parse("mine", settings, case.task_settings)
    assert str(raised.value) == (
        f"Configuration contains settings [{{foo=bar}}] unknown to the [{case.service}] service"
    )


@each_service
async def test_the_rate_limit_is_shown_with_its_default(case: Case) -> None:
    async with remote_case(case) as (remote, _, endpoint):
        default = remote.services[case.service].requests_per_minute
        limit = endpoint.config.document()["service_settings"].get("rate_limit")
        assert limit == (None if default is None else {"requests_per_minute": default})


@each(*(case for case in CASES if case.service != "amazon_sagemaker"))
async def test_the_rate_limit_is_kept(case: Case) -> None:
    async with remote_case(case) as (remote, vendor, _):
        service = remote.services[case.service]
        limits = {"rate_limit": {"requests_per_minute": 2}}
        config = service.parse("mine", {**case.settings(vendor.url), **limits}, case.task_settings)
        endpoints = [
            Endpoint(each, service.open(each)) for each in (config, renamed(config, "other"), config)
        ]
        for each in endpoints:
            assert len(await ranking(remote, each)) == 3
        assert remote.clock.slept == [pytest.approx(30)]
        await remote.clock.sleep(1e6)  # so that the deadline below is not the event loop's for a while
        for each in endpoints[:2]:
            await ranking(remote, each)
        request = RerankRequest("q", TEXTS, task_settings=config.task_settings)
        soon = Deadline(remote.clock.now() + 29, "29s", "[search.timeout_s: 29s]")
        with pytest.raises(InferenceFailedError) as raised:
            await endpoints[0].rank(request, soon)
        assert (raised.value.status, raised.value.cause.type) == (429, "es_rejected_execution_exception")


def renamed(config: EndpointConfig, inference_id: str) -> EndpointConfig:
    return replace(config, inference_id=inference_id)
