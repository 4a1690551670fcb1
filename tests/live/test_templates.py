"""Search templates that become rerankers when they are rendered, beside the same searches written out."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.live.test_msearch import PIT, PLAIN, RERANKED, ids, items, lines
from tests.support.search_app import Answer, SearchApp, search_app
from tests.support.searches import RERANKER, reranking
from tests.support.templates import Templates, with_templates

SOURCE = """{
  "size": {{size}}{{^size}}10{{/size}}, // hits
  "retriever": {"text_similarity_reranker": {
    "retriever": {"standard": {"query": {"match": {"text": "{{word}}"}}}},
    "field": "text", "inference_text": "{{word}}"
  }}
}"""
PARAMS = {"word": "crime", "size": 3}
MATCH = {"source": {"query": {"match": {"text": "{{word}}"}}, "sort": ["n"], "size": 2}, "params": PARAMS}


@pytest.fixture
async def templates(elasticsearch: RunningElasticsearch) -> AsyncIterator[Templates]:
    async with with_templates(elasticsearch.url) as serving:
        serving.stored = {"films": SOURCE, "plain": json.dumps(MATCH["source"])}
        yield serving


@pytest.fixture
async def app(templates: Templates) -> AsyncIterator[SearchApp]:
    async with search_app(templates.url) as serving:
        yield serving
        await serving.executor.drain()


@pytest.fixture
def index(make_index: MakeIndex) -> str:
    return make_index([{"text": f"crime {n}", "n": n} for n in range(5)])


def rendered(size: int = 3) -> dict[str, Any]:
    child = {"standard": {"query": {"match": {"text": "crime"}}}}
    return {**reranking(child, inference_text="crime"), "size": size}


class TestSearchTemplate:
    @pytest.mark.parametrize(
        "template",
        [
            {"source": SOURCE, "params": PARAMS},
            {"id": "films", "params": PARAMS},
            {"source": {**reranking(), "size": "{{size}}"}, "params": PARAMS},
            {
                "source": '{"size":3,"retriever":{{#toJson}}tree{{/toJson}}}',
                "params": {"tree": rendered()["retriever"]},
            },
        ],
    )
    @pytest.mark.parametrize(
        "query", ["", "pretty", "rest_total_hits_as_int=true", "search_type=query_then_fetch"]
    )
    async def test_it_is_the_search_that_it_renders(
        self, app: SearchApp, index: str, template: dict[str, Any], query: str
    ) -> None:
        answer = await app.call("POST", f"/{index}/_search/template?{query}", template)
        written_out = await app.search(index, rendered(), query)
        assert answer.ids == ["4", "3", "2"]
        assert answer.without_took == written_out.without_took
        assert answer.headers["X-Rerank"].startswith("applied; ")

    async def test_what_is_in_the_url(self, app: SearchApp, index: str) -> None:
        """The request's options count; what would go into the body is replaced with it."""
        template = {"source": SOURCE, "params": PARAMS}
        query = "size=1&from=2&q=nothing&sort=n&_source=false&terminate_after=1&version=true"
        answer = await app.call("POST", f"/{index}/_search/template?{query}", template)
        assert answer.without_took == (await app.search(index, rendered())).without_took
        missing = await app.call("POST", "/none-such/_search/template?ignore_unavailable=true", template)
        assert missing.hits == []
        scroll = await app.call("POST", f"/{index}/_search/template?scroll=1m", template)
        assert scroll.json()["error"]["reason"].endswith(f"cannot specify [{RERANKER}] and [scroll];")
        unknown = await app.call("POST", f"/{index}/_search/template?foo=1", template)
        assert "unrecognized parameter: [foo]" in unknown.json()["error"]["reason"]

    async def test_a_get_and_a_body_in_the_url(self, app: SearchApp, index: str) -> None:
        template = json.dumps({"id": "films", "params": PARAMS})
        in_url = f"source={quote(template)}&source_content_type=application/json"
        for method, target, body in (
            ("GET", f"/{index}/_search/template", template.encode()),
            ("POST", f"/{index}/_search/template/?{in_url}", b""),
        ):
            assert (await app.call(method, target, body)).ids == ["4", "3", "2"]

    async def test_flags_are_the_requests(self, app: SearchApp, index: str) -> None:
        """They replace those of the rendered body."""
        body = {**rendered(), "explain": True, "profile": True}
        off = await app.call("POST", f"/{index}/_search/template", {"source": body})
        assert off.without_took == (await app.search(index, rendered())).without_took
        for flags, query in (
            ({"explain": True, "profile": True}, ""),
            ({"profile": True, "explain": False}, "?explain=true"),
        ):
            template = {"source": rendered(), **flags}
            answer = await app.call("POST", f"/{index}/_search/template{query}", template)
            assert "_explanation" in answer.hits[0]
            assert "profile" in answer.json()

    async def test_what_the_rendered_search_is_refused_for(self, app: SearchApp, index: str) -> None:
        template = {"source": SOURCE, "params": {**PARAMS, "size": 11}}
        answer = await app.call("POST", f"/{index}/_search/template", template)
        assert answer.status == 400
        assert "greater than or equal to [size: 11]" in answer.json()["error"]["reason"]
        # positions are those in the rendered text
        template = {"source": SOURCE.replace("field", "fild"), "params": PARAMS}
        answer = await app.call("POST", f"/{index}/_search/template", template)
        assert answer.json()["error"]["reason"].startswith("[5:5] [text_similarity_reranker] unknown field")

    @pytest.mark.parametrize(
        ("template", "renders"),
        [
            ({"source": {"query": {"match_all": {}}}}, False),
            ({"id": "plain", "params": PARAMS}, True),
            ({"id": "none-such"}, True),
            ({"id": "plain", "params": {"word": RERANKER}}, True),
            ({"source": {"query": {"match": {"text": RERANKER}}}}, False),
            ({"sauce": SOURCE}, True),
            ({"id": "films", "foo": 1}, True),
            (b"{", False),
            (b'{"id"', True),
        ],
    )
    async def test_all_others_are_passed_on(
        self, app: SearchApp, templates: Templates, index: str, template: Any, renders: bool
    ) -> None:
        answer = await app.call("POST", f"/{index}/_search/template", template)
        assert (answer.status, answer.headers["x-rerank-proxy"], answer.body) == (421, "pass", b"")
        assert bool(templates.rendered) is renders

    async def test_rendering_is_the_callers(self, app: SearchApp, templates: Templates, index: str) -> None:
        body = json.dumps({"source": SOURCE, "params": PARAMS}).encode()
        await app.call("POST", f"/{index}/_search/template", body)
        assert templates.rendered == [body]
        assert app.upstream.sent[0] == "POST /_render/template"

    async def test_an_elasticsearch_that_cannot_render(
        self, elasticsearch: RunningElasticsearch, index: str
    ) -> None:
        async with search_app(elasticsearch.url) as app:
            template = {"source": SOURCE, "params": PARAMS}
            assert (await app.call("POST", f"/{index}/_search/template", template)).status == 421
            body = lines({}, template)
            assert (await app.call("POST", f"/{index}/_msearch/template", body)).status == 421


def without_took(answer: Answer) -> bytes:
    return re.sub(rb'"took"( ?: ?)\d+', rb'"took"\1_', answer.body)


class TestMultiSearchTemplate:
    @pytest.mark.parametrize("style", ["", "pretty"])
    async def test_it_is_the_searches_that_it_renders(self, app: SearchApp, index: str, style: str) -> None:
        template = {"id": "films", "params": PARAMS}
        body = lines(
            {}, MATCH, {}, template, PIT, {"source": SOURCE, "params": PARAMS}, {"index": "x"}, template
        )
        answer = await app.call("POST", f"/{index}/_msearch/template?{style}", body)
        written_out = lines({}, {**PLAIN, "query": {"match": {"text": "crime"}}}, {}, rendered())
        written_out += lines(PIT, rendered(), {"index": "x"}, rendered())
        expected = await app.call("POST", f"/{index}/_msearch?{style}", written_out)
        assert [item["status"] for item in items(answer)] == [200, 200, 200, 404]
        assert without_took(answer) == without_took(expected)
        assert answer.headers["X-Rerank"].count("item=") == 2

    async def test_failures_of_single_items(self, app: SearchApp, index: str) -> None:
        """Here a body that cannot be read fails only its item, with or without a reranker."""
        good = {"id": "films", "params": PARAMS}
        body = lines(
            *({}, good),
            *({}, {"id": "none-such"}),
            *({}, {"source": SOURCE.replace("field", "fild"), "params": PARAMS}),
            *({}, {"source": {"colapse": 1}}),
            *({}, {"source": "{"}),
            *({}, {"source": SOURCE.replace("match", "mtch"), "params": PARAMS}),
            *(PIT, {"source": {**rendered(), "colapse": 1}}),
            *({}, MATCH),
        )
        found = items(await app.call("POST", f"/{index}/_msearch/template", body))
        assert [item["status"] for item in found] == [200, 404, 400, 400, 400, 400, 400, 200]
        assert ids(found[0]) == ["4", "3", "2"]
        assert ids(found[-1]) == ["0", "1"]
        assert [item["error"]["root_cause"][0]["type"] for item in found[1:-1]] == [
            "resource_not_found_exception",
            "x_content_parse_exception",
            "parsing_exception",
            "x_content_e_o_f_exception",
            "parsing_exception",
            "parsing_exception",
        ]

    @pytest.mark.parametrize(
        ("bad", "reason"),
        [
            (({}, {"source": {**rendered(11)}}), "greater than or equal to [size: 11]"),
            (({}, {"source": {"slice": {"id": 0, "max": 2}}}), "[slice] can only be used with"),
            (({"foo": 1}, MATCH), "key [foo] is not supported in the metadata section"),
            (({}, {"foo": 1}), "unknown field"),
        ],
    )
    async def test_failures_of_all(self, app: SearchApp, index: str, bad: Any, reason: str) -> None:
        body = lines({}, {"id": "films", "params": PARAMS}, *bad)
        answer = await app.call("POST", f"/{index}/_msearch/template", body)
        assert answer.status == 400
        assert reason in answer.json()["error"]["reason"]

    async def test_the_last_line_has_no_end(self, app: SearchApp, index: str) -> None:
        body = lines({}, {"id": "films", "params": PARAMS}, {}, MATCH)[:-1]
        answer = await app.call("POST", f"/{index}/_msearch/template", body)
        assert "must be terminated by a newline" in answer.json()["error"]["reason"]

    @pytest.mark.parametrize(
        "body",
        [({}, MATCH), ({}, {"id": "none-such"}), ({}, b"{"), (b"text_similarity_reranker",), ({}, {"id": 1})],
    )
    async def test_all_others_are_passed_on(self, app: SearchApp, index: str, body: Any) -> None:
        answer = await app.call("POST", f"/{index}/_msearch/template", lines(*body))
        assert (answer.status, answer.headers["x-rerank-proxy"]) == (421, "pass")
        assert not any("_msearch" in sent for sent in app.upstream.sent)

    async def test_a_template_cannot_smuggle_in_a_search(self, app: SearchApp, index: str) -> None:
        smuggled = {"source": '{"size":0}\n{}\n{"size":1}', "params": {}}
        body = lines({}, {"id": "films", "params": {"word": "crime"}}, {}, smuggled)
        good, bad = items(await app.call("POST", f"/{index}/_msearch/template", body))
        assert ids(good) == RERANKED
        assert bad["status"] == 400
