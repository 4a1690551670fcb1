"""Servers that an endpoint describes."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.inference.endpoints import Endpoints
from rerank_proxy.inference.failures import InferenceFailedError
from rerank_proxy.inference.ranking import RerankRequest
from rerank_proxy.inference.store import ReadOnlyStore
from rerank_proxy.services.custom_templates import TemplateError, fill_json, fill_text
from tests.support.processor_time import spending
from tests.support.remote import Remote, remote_case
from tests.support.vendors import CASES, Wire, wires
from tests.support.vendors.cases import CUSTOM

CASE = next(case for case in CASES if case.service == "custom")
PARAMETERS = {"parameters": {"tenant": "acme", "mode": "fast"}}
SETTINGS = {**CUSTOM, "url": "https://reranker.example.com/score"}


def refusal(task_settings: dict[str, Any] | None = None, **changes: Any) -> str:
    service = Remote(allowed_hosts=["*"]).services["custom"]
    with pytest.raises(InferenceFailedError) as raised:
        service.parse("mine", {**SETTINGS, **changes}, PARAMETERS if task_settings is None else task_settings)
    assert raised.value.status == 400
    return str(raised.value)


async def test_templates_become_a_request() -> None:
    async with remote_case(CASE) as (remote, vendor, endpoint):
        request = RerankRequest('a "q"', ["a 1", "b\n2"], 1, True, endpoint.config.task_settings)
        (doc,) = await endpoint.rank(request, remote.deadline())
        assert (doc.index, doc.relevance_score, doc.text) == (1, 2.0, "b\n2")
        assert vendor.seen == [{"q": 'a "q"', "docs": ["a 1", "b\n2"], "k": 1, "show": True, "mode": "fast"}]


RESULTS = {"relevance_score": "$.results[*].relevance_score", "reranked_index": "$.results[*].index"}
OTHERS: dict[str, tuple[Wire, str, dict[str, str]]] = {
    "Cohere's": (
        wires.COHERE_V2,
        '{"model": "m", "query": ${query}, "documents": ${input}, "top_n": ${top_n}}',
        RESULTS,
    ),
    "Jina's": (
        wires.JINA,
        '{"model": "m", "query": ${query}, "documents": ${input}, "return_documents": ${return_documents}}',
        RESULTS,
    ),
    "infinity": (
        wires.INFINITY,
        '{"query": ${query}, "documents": ${input}, "return_documents": ${return_documents}}',
        {**RESULTS, "document_text": "$.results[*].document"},
    ),
    "vLLM": (
        wires.VLLM,
        '{"query": ${query}, "documents": ${input}, "top_n": ${top_n}}',
        {**RESULTS, "document_text": "$.results[*].document.text"},
    ),
    "vLLM's scores": (
        wires.VLLM_SCORE,
        '{"model": "m", "text_1": ${query}, "text_2": ${input}}',
        {"relevance_score": "$.data[*].score"},
    ),
    "text-embeddings-inference": (
        wires.TEI,
        '{"query": ${query}, "texts": ${input}}',
        {"relevance_score": "$[*].score", "reranked_index": "$[*].index"},
    ),
}


@pytest.mark.parametrize("name", OTHERS)
async def test_other_wires_can_be_described(name: str) -> None:
    wire, request, parser = OTHERS[name]
    described = {
        "secret_parameters": {"api_key": wires.KEY},
        "headers": {"Authorization": "Bearer ${api_key}", "Request-Source": "unspecified:elasticsearch"},
        "request": request,
        "response": {"json_parser": parser},
        "batch_size": 2,
    }
    case = replace(
        CASE, wire=wire, settings=lambda url: {**described, "url": url + wire.path}, task_settings={}
    )
    async with remote_case(case) as (remote, _, endpoint):
        ranked = await endpoint.rank(RerankRequest("q", ["a 1", "b 3", "c 2"], 2, False), remote.deadline())
        assert [(doc.index, doc.relevance_score) for doc in ranked] == [(1, 3.0), (2, 2.0)]
        assert (await endpoint.scores("q", ["a 1", "b 3", "c 2"], remote.deadline())).values == [1, 3, 2]


async def test_parameters_of_the_request_win() -> None:
    wire = replace(CASE.wire, required={**CASE.wire.required, "mode": dict})
    async with remote_case(replace(CASE, wire=wire)) as (remote, vendor, endpoint):
        task = {"parameters": {"tenant": "acme", "mode": {"any": ["thing"]}}}
        await endpoint.rank(RerankRequest("q", ["a 1"], task_settings=task), remote.deadline())
        assert vendor.seen[0]["mode"] == {"any": ["thing"]}


async def test_what_is_put_into_a_template_is_not_a_template() -> None:
    async with remote_case(CASE) as (remote, vendor, endpoint):
        query, texts = "${api_key} ${input}", ["${api_key} 1"]
        request = RerankRequest(query, texts, task_settings=endpoint.config.task_settings)
        await endpoint.rank(request, remote.deadline())
        assert (vendor.seen[0]["q"], vendor.seen[0]["docs"]) == (query, texts)


async def test_a_request_that_takes_a_parameter_away() -> None:
    async with remote_case(CASE) as (remote, vendor, endpoint):
        with pytest.raises(InferenceFailedError) as raised:
            await endpoint.rank(
                RerankRequest("q", ["a"], task_settings={"parameters": {"tenant": "acme"}}), remote.deadline()
            )
        assert raised.value.status == 400
        assert str(raised.value).startswith(
            "Found placeholder [${mode}] in field [request] after replacement"
        )
        assert vendor.seen == []


def test_an_early_form_of_the_request() -> None:
    service = Remote(allowed_hosts=["*"]).services["custom"]
    config = service.parse("mine", {**SETTINGS, "request": {"content": CUSTOM["request"]}}, PARAMETERS)
    assert config.service_settings["request"] == CUSTOM["request"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"response": {}},
            "[service_settings.response] does not contain the required setting [json_parser]",
        ),
        (
            {"response": {"json_parser": {}}},
            "[json_parser] does not contain the required setting [relevance_score]",
        ),
        (
            {"response": {"json_parser": {"relevance_score": "a.b"}}},
            "[json_parser] Invalid value of [relevance_score]: Path [a.b] must start with a dollar sign ($)",
        ),
        (
            {"response": {"json_parser": {"relevance_score": "$.a[0]"}}},
            "[json_parser] Invalid value of [relevance_score]: Invalid path received [[0]], unable to "
            "extract a field name.",
        ),
        (
            {"response": {"json_parser": {"relevance_score": "$.a", "foo": "$.b"}, "x": 1}},
            "[service_settings.response] unknown setting [x];"
            "2: [service_settings.response] unknown setting [foo]",
        ),
        ({"headers": {"a": 1}}, "Map field [headers] has an entry that is not valid, [a] must be a text"),
        (
            {"headers": {"a b": "x"}},
            "Map field [headers] has an entry that is not valid, [a b] is not the name of a header",
        ),
        (
            {"query_parameters": [["a"]]},
            "[service_settings] failed to parse tuple list for setting [query_parameters]",
        ),
        (
            {"headers": {"A": "${other}"}},
            "Found placeholder [${other}] in field [header.A] after replacement call, please check that all "
            "templates have a corresponding field definition.",
        ),
        (
            {"url": "https://x.com/${input}"},
            "Found placeholder [${input}] in field [url] after replacement call, please check that all "
            "templates have a corresponding field definition.",
        ),
    ],
)
def test_bad_descriptions(changes: dict[str, Any], reason: str) -> None:
    assert refusal(**changes) == f"Validation Failed: 1: {reason};"


def test_a_host_made_of_parameters_is_checked_too() -> None:
    service = Remote(allowed_hosts=["good.com"]).services["custom"]
    settings = {**SETTINGS, "url": "https://${host}/x", "secret_parameters": {"api_key": "k"}}
    with pytest.raises(InferenceFailedError, match=r"its host is not in \[remote\.allowed_hosts\]"):
        service.parse("mine", settings, {"parameters": {**PARAMETERS["parameters"], "host": "evil.com"}})


async def test_a_request_does_not_send_an_endpoints_secrets_elsewhere() -> None:
    remote = Remote(allowed_hosts=["good.com"], allow_private_addresses=False)
    task = {"parameters": {**PARAMETERS["parameters"], "host": "good.com"}}
    endpoint = remote.endpoint("custom", {**SETTINGS, "url": "https://${host}/x"}, task)
    changed = {"parameters": {**PARAMETERS["parameters"], "host": "169.254.169.254"}}
    with pytest.raises(InferenceFailedError) as raised:
        await endpoint.rank(RerankRequest("q", ["a"], task_settings=changed), remote.deadline())
    assert raised.value.status == 400
    assert str(raised.value) == "a request must not change whom the endpoint calls"


def test_a_secret_in_a_refused_url_is_not_shown() -> None:
    service = Remote(allowed_hosts=["good.com"]).services["custom"]
    settings = {**SETTINGS, "url": "https://evil.com/${api_key}"}
    with pytest.raises(InferenceFailedError) as raised:
        service.parse("mine", settings, PARAMETERS)
    assert CUSTOM["secret_parameters"]["api_key"] not in str(raised.value)


@given(st.recursive(st.none() | st.booleans() | st.integers(-5, 5) | st.text(), st.lists), st.text())
def test_values_arrive_as_they_are(value: Any, query: str) -> None:
    body = fill_json('{"a": ${a}, "q": [${query}, ${a}]}', {"a": value, "query": query}, "request")
    assert json.loads(body) == {"a": value, "q": [query, value]}


@pytest.mark.parametrize("fill", [fill_json, fill_text])
def test_a_placeholder_for_nothing(fill: Callable[..., str]) -> None:
    with pytest.raises(TemplateError, match=r"Found placeholder \[\$\{b\}\] in field \[url\]"):
        fill("${a} ${b}", {"a": "x"}, "url")


async def test_scores_alone_are_in_the_order_of_the_input() -> None:
    async with remote_case(CASE) as (remote, vendor, _):
        parser = {"json_parser": {"relevance_score": "$.scores"}}
        endpoint = remote.endpoint(
            "custom", {**CUSTOM, "url": f"{vendor.url}/score", "response": parser}, PARAMETERS
        )
        vendor.says(b'{"scores": [0.5, 2, 1]}')
        assert (await endpoint.scores("q", ["a", "b", "c"], remote.deadline())).values == [0.5, 2, 1]


async def test_lists_of_different_lengths() -> None:
    async with remote_case(CASE) as (remote, vendor, _):
        parser = {"json_parser": {"relevance_score": "$.scores", "reranked_index": "$.order"}}
        endpoint = remote.endpoint(
            "custom", {**CUSTOM, "url": f"{vendor.url}/score", "response": parser}, PARAMETERS
        )
        vendor.says(b'{"scores": [0.5, 2], "order": [1]}')
        with pytest.raises(InferenceFailedError, match=r"\[relevance_score\] 2, \[reranked_index\] 1"):
            await endpoint.scores("q", ["a", "b"], remote.deadline())


BAD_HEADERS: list[dict[str, str]] = [
    *({name: "x"} for name in ("Transfer-Encoding", "content-length", "Host", "Connection", "Expect", "TE")),
    *({name: "x"} for name in ("Transfer_Encoding", "CONTENT.LENGTH", "Host ", "\tHost", "Accept-Encoding")),
    *({"A": value} for value in ("a\r\nHost: evil", "a\nb", "a\0b", "a\x7fb", "${evil}", "a${evil}b")),
    {"A": "b", "a": "c"},
]
EVIL = {"secret_parameters": {**CUSTOM["secret_parameters"], "evil": "a\r\nTransfer-Encoding: chunked"}}


@pytest.mark.parametrize("headers", BAD_HEADERS, ids=str)
def test_headers_that_say_how_a_call_is_sent_are_refused_when_the_endpoint_is_made(
    headers: dict[str, str],
) -> None:
    assert "Map field [headers] has an entry that is not valid, [" in refusal(headers=headers, **EVIL) or (
        "the value of [A] holds a line break" in refusal(headers=headers, **EVIL)
    )


@pytest.mark.parametrize("headers", BAD_HEADERS, ids=str)
async def test_they_are_refused_when_an_older_endpoint_is_called(headers: dict[str, str]) -> None:
    async with remote_case(CASE) as (remote, vendor, endpoint):
        config = endpoint.config
        older = replace(
            config,
            service_settings={**config.service_settings, "headers": headers},
            secrets=EVIL,
        )
        opened = remote.services["custom"].open(older)
        with pytest.raises(InferenceFailedError) as raised:
            await opened.rank(RerankRequest("q", ["a"], task_settings=older.task_settings), remote.deadline())
        assert raised.value.status == 400
        assert "is not allowed: " in str(raised.value)
        assert vendor.seen == vendor.headers == []


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\0"])
async def test_a_request_cannot_put_a_line_break_into_a_header(value: str) -> None:
    async with remote_case(CASE) as (remote, vendor, endpoint):
        settings = {**endpoint.config.service_settings, "headers": {"X-Tenant": "${tenant}"}}
        opened = remote.services["custom"].open(replace(endpoint.config, service_settings=settings))
        task = {"parameters": {**PARAMETERS["parameters"], "tenant": value}}
        with pytest.raises(InferenceFailedError, match=r"the value of \[X-Tenant\] holds a line break"):
            await opened.rank(RerankRequest("q", ["a"], task_settings=task), remote.deadline())
        assert vendor.headers == []


async def test_another_content_type_takes_the_place_of_the_usual_one() -> None:
    async with remote_case(CASE) as (remote, vendor, _):
        headers = {**CUSTOM["headers"], "content-TYPE": "application/json; charset=utf-8"}
        settings = {**CUSTOM, "url": f"{vendor.url}/score", "headers": headers}
        endpoint = remote.endpoint("custom", settings, PARAMETERS)
        await endpoint.scores("q", ["a 1"], remote.deadline())
        types = [value for name, value in vendor.headers[0].items() if name.lower() == "content-type"]
        assert types == ["application/json; charset=utf-8"]


SECRET = CUSTOM["secret_parameters"]["api_key"]


@pytest.mark.parametrize("url", ["https://${api_key}:x/y", "https://[${api_key}/", "x://${api_key}"])
async def test_a_secret_in_a_url_that_is_none_is_told_nowhere(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Libraries repeat what they cannot read, and the log repeats them."""
    assert SECRET not in refusal(url=url)
    remote = Remote(allowed_hosts=["*"])
    config = remote.services["custom"].parse("mine", SETTINGS, PARAMETERS)
    older = replace(config, service_settings={**config.service_settings, "url": url})
    endpoints = Endpoints(remote.services, [older], ReadOnlyStore())
    found = await endpoints.find("mine")
    assert found is not None
    with pytest.raises(InferenceFailedError) as raised:
        await found.scores("q", ["a"], remote.deadline())
    await endpoints.close()
    await remote.client.close()
    assert SECRET not in f"{raised.value!r} {raised.value} {caplog.text}"


async def test_a_request_that_makes_no_url() -> None:
    remote = Remote(allowed_hosts=["*"])
    endpoint = remote.endpoint(
        "custom",
        {**SETTINGS, "url": "https://x.com:${tenant}/${api_key}"},
        {"parameters": {"tenant": "80", "mode": "m"}},
    )
    for port in ("a", "99999", "80/#", "\r\n"):
        task = {"parameters": {"tenant": port, "mode": "m"}}
        with pytest.raises(InferenceFailedError) as raised:
            await endpoint.rank(RerankRequest("q", ["a"], task_settings=task), remote.deadline())
        assert raised.value.status == 400
        assert SECRET not in str(raised.value)


def test_a_template_of_many_openings_is_read_once() -> None:
    with spending() as spent:
        assert fill_text("${" * 200_000, {}, "url") == "${" * 200_000
    assert spent.seconds < 2


@pytest.mark.parametrize("fill", [fill_json, fill_text])
def test_a_template_does_not_multiply_its_values_without_end(fill: Callable[..., str]) -> None:
    with pytest.raises(TemplateError, match=r"Field \[request\] is larger than \[134217728\] bytes"):
        fill("${a}" * 10_000, {"a": "x" * 100_000}, "request")
