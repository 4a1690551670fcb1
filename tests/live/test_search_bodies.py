"""Bodies of searches that cannot be read, are coded or large, or only mention a reranker."""

import gzip
import json
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.support.crime_indices import CRIME_MAPPING
from tests.support.raw_http import connect
from tests.support.search_app import SearchApp, search_app
from tests.support.searches import QUERY, reranking


@pytest.fixture
async def app(elasticsearch: RunningElasticsearch) -> AsyncIterator[SearchApp]:
    async with search_app(elasticsearch.url) as serving:
        yield serving


@pytest.fixture
def crimes(make_index: MakeIndex) -> str:
    documents = [{"text": f"crime {n}", "v": [1, n]} for n in range(1, 5)]
    return make_index([*documents, {"v": [0, 1]}], mappings=CRIME_MAPPING)


class TestBodies:
    @pytest.mark.parametrize(
        ("body", "type_", "reason"),
        [
            (
                b'{"retriever":{"text_similarity_reranker":{',
                "x_content_e_o_f_exception",
                "[1:43] Unexpected end of file",
            ),
            (
                json.dumps(reranking()).encode()[:-1] + b',"size":1,"size":2}',
                "x_content_parse_exception",
                "[1:178] Duplicate field 'size'",
            ),
            (
                b'{"retriever":{"text_similarity_reranker":{}}}',
                "illegal_argument_exception",
                "Required [retriever, inference_text, field]",
            ),
            (
                b'{"retriever":{"text_similarity_reranker":{"inference_text":"\xff"}}}',
                "x_content_parse_exception",
                "[1:60] [text_similarity_reranker] failed to parse field [inference_text]",
            ),
        ],
    )
    async def test_a_bad_body(
        self, app: SearchApp, crimes: str, body: bytes, type_: str, reason: str
    ) -> None:
        answer = await app.search(crimes, body)
        assert answer.status == answer.json()["status"] == 400
        error = answer.json()["error"]
        assert error["type"] == error["root_cause"][0]["type"] == type_
        assert error["reason"].startswith(reason)
        assert app.upstream.sent == []

    async def test_errors_may_be_pretty(self, app: SearchApp, crimes: str) -> None:
        answer = await app.search(crimes, b'{"retriever":{"text_similarity_reranker":{}}}', "pretty")
        assert answer.body.startswith(b'{\n  "error" : {\n    "root_cause" : [\n      {\n')
        assert answer.body.endswith(b'  "status" : 400\n}\n')

    async def test_coded_bodies(self, app: SearchApp, crimes: str) -> None:
        packed = gzip.compress(json.dumps(reranking()).encode())
        headers = {"Content-Encoding": "gzip"}
        assert (await app.search(crimes, packed, headers=headers)).ids == ["3", "2", "1", "0"]
        for broken in (packed[:-8] + bytes(8), packed[:-4] + bytes(4)):
            answer = await app.search(crimes, broken, headers=headers)
            assert answer.status == 400
            assert answer.json()["error"]["type"] == "zip_exception"

    async def test_a_large_body(self, app: SearchApp, crimes: str) -> None:
        """Beyond what is decoded and compressed on the event loop."""
        words = [f"word {number}" for number in range(50_000)]
        child = {"standard": {"query": {"bool": {"must": QUERY, "must_not": {"terms": {"text": words}}}}}}
        body = gzip.compress(json.dumps(reranking(child)).encode())
        answer = await app.search(crimes, body, headers={"Content-Encoding": "gzip"})
        assert answer.ids == ["3", "2", "1", "0"]

    @pytest.mark.parametrize(
        ("method", "target", "body"),
        [
            ("POST", "/{index}/_search", b'{"query":{"match":{"text":"text_similarity_reranker"}}}'),
            ("GET", "/{index}/_search?q=text_similarity_reranker", b""),
            ("POST", "/{index}/_msearch", b'{}\n{"query":{"term":{"a":"text_similarity_reranker"}}}\n'),
            ("POST", "/templates/_msearch", b'{}\n{"query":{"term":{"text_similarity_reranker":1}}}\n'),
            ("POST", "/{index}/_msearch", b"text_similarity_reranker\n"),
        ],
    )
    async def test_a_mention_is_passed_on(
        self, app: SearchApp, crimes: str, method: str, target: str, body: bytes
    ) -> None:
        answer = await app.call(method, target.replace("{index}", crimes), body)
        assert (answer.status, answer.headers["x-rerank-proxy"], answer.body) == (421, "pass", b"")
        assert app.upstream.sent == []

    @pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded"])
    async def test_media_types_that_elasticsearch_refuses_are_passed_on(
        self, app: SearchApp, crimes: str, media_type: str
    ) -> None:
        answer = await app.search(crimes, reranking(), headers={"Content-Type": media_type})
        assert answer.status == 421

    async def test_other_apis_say_that_they_do_not_rerank(self, app: SearchApp, crimes: str) -> None:
        requests = {"requests": [{"id": "a", "ratings": [], "request": reranking()}]}
        answer = await app.call("POST", f"/{crimes}/_rank_eval", requests)
        assert answer.status == 400
        assert answer.json()["error"]["type"] == "unsupported_operation_exception"
        assert "[text_similarity_reranker] in [_rank_eval]" in answer.json()["error"]["reason"]

    @pytest.mark.parametrize("header", ["Content-Type", "Accept"])
    async def test_smile_is_refused(self, app: SearchApp, crimes: str, header: str) -> None:
        answer = await app.search(crimes, reranking(), headers={header: "application/smile"})
        assert answer.status == 400
        assert answer.json()["error"]["type"] == "unsupported_operation_exception"
        assert "[application/smile] as the format" in answer.json()["error"]["reason"]

    async def test_headers_that_are_not_text(self, app: SearchApp, crimes: str) -> None:
        body = json.dumps(reranking()).encode()
        async with connect(urlsplit(app.url).port or 0) as wire:
            await wire.send(
                b"POST /%b/_search HTTP/1.1\r\nX-Opaque-Id: \xe9\r\nX-Odd: \xff\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (crimes.encode(), len(body), body)
            )
            answer = await wire.read_message()
        assert answer.status == 200
        assert b"\r\nX-Opaque-Id: \xe9\r\n" in answer.head
