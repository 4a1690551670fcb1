"""The proxy's own APIs take the headers of every client, and answer with what Elasticsearch answers to them:
status, content type and coding are those of a request of the same kind that it knows.
"""

import gzip
import json
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import pytest

from rerank_proxy.app.formats import yaml_body
from rerank_proxy.edge.server import Edge
from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.support.client_headers import CLIENTS, Client, Headers
from tests.support.proxied import proxied
from tests.support.raw_http import Message, connect
from tests.support.search_app import ENDPOINT
from tests.support.searches import reranking
from tests.support.templates import with_templates
from tests.support.trained_models import CONFIG, TOKENS, NotingEngine, models_in, part_body

BODY, LINES, NONE = "body", "lines", "none"
SEARCH: Final = reranking()
PLAIN: Final = {"query": {"match": {"text": "crime"}}}


@pytest.fixture
async def proxy(elasticsearch: RunningElasticsearch, tmp_path: Path) -> AsyncIterator[Edge]:
    models = models_in(tmp_path / "models", NotingEngine())
    await models.start()
    async with (
        with_templates(elasticsearch.url) as templates,
        proxied(templates.url, tmp_path, models, check_privileges=True) as edge,
    ):
        templates.stored = {"films": json.dumps(SEARCH)}
        yield edge
    await models.close()


@pytest.fixture
def index(make_index: MakeIndex) -> str:
    return make_index([{"text": f"crime {n}"} for n in (1, 3, 2)])


@dataclass(frozen=True)
class Answer:
    """
    Attributes:
        shape: What a client sees before it reads the body.
    """

    message: Message
    value: Any

    @property
    def status(self) -> int:
        return self.message.status

    @property
    def shape(self) -> tuple[int, str | None, str | None]:
        return self.status, self.message.field("content-type"), self.message.field("content-encoding")


async def ask(port: int, client: Client, kind: str, method: str, target: str, body: Any = None) -> Answer:
    headers: Headers = {BODY: client.with_body, LINES: client.with_lines, NONE: client.without_body}[kind]
    lines = [
        f"{method} {target} HTTP/1.1",
        "Host: a",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    data = b""
    if kind != NONE:
        texts = [json.dumps(each) for each in (body if kind == LINES else [body])]
        data = ("\n".join(texts) + ("\n" if kind == LINES else "")).encode()
        data = gzip.compress(data) if client.is_compressed else data
        lines.append("Transfer-Encoding: chunked" if client.is_chunked else f"Content-Length: {len(data)}")
        data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if client.is_chunked else data
    elif method == "POST":
        lines.append("Content-Length: 0")
    async with connect(port) as wire:
        await wire.send("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
        message = await wire.read_message()
    return Answer(message, decoded(message))


def decoded(message: Message) -> Any:
    body = message.body
    if "chunked" in (message.field("transfer-encoding") or ""):
        body = unchunked(body)
    coding = message.field("content-encoding")
    if coding is not None:
        body = zlib.decompress(body, 31 if "gzip" in coding else 15)
    if "yaml" in (message.field("content-type") or ""):
        body = yaml_body.read(body)
    return json.loads(body)


def unchunked(body: bytes) -> bytes:
    content = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        content, body = content + body[: int(size, 16)], body[int(size, 16) + 2 :]
        if size == b"0":
            break
    return content


@dataclass(frozen=True)
class Native:
    """What Elasticsearch answers to a client, by kind of request."""

    found: Mapping[str, Answer]
    missing: Mapping[str, Answer]

    @classmethod
    async def of(cls, elasticsearch: RunningElasticsearch, client: Client, index: str) -> "Native":
        port = urlsplit(elasticsearch.url).port or 0
        source = f"source={quote(json.dumps(PLAIN))}&source_content_type=application/json"
        return cls(
            {
                BODY: await ask(port, client, BODY, "POST", f"/{index}/_search", PLAIN),
                LINES: await ask(port, client, LINES, "POST", f"/{index}/_msearch", [{}, PLAIN]),
                NONE: await ask(port, client, NONE, "GET", f"/{index}/_search?{source}"),
            },
            {
                BODY: await ask(port, client, BODY, "POST", f"/{index}-none/_search", PLAIN),
                NONE: await ask(port, client, NONE, "GET", f"/{index}-none/_search"),
            },
        )


class Caller:
    """Sends requests as a client, and compares their answers with native ones."""

    def __init__(self, proxy: Edge, client: Client, native: Native) -> None:
        self._port = proxy.address.port
        self._client = client
        self._native = native

    async def found(self, kind: str, method: str, target: str, body: Any = None) -> Any:
        """Return the value of an answer, or None if Elasticsearch refuses such headers too."""
        return await self._like(self._native.found[kind], kind, method, target, body)

    async def missing(self, kind: str, method: str, target: str, body: Any = None) -> Any:
        return await self._like(self._native.missing[kind], kind, method, target, body)

    async def _like(self, native: Answer, kind: str, method: str, target: str, body: Any) -> Any:
        answer = await ask(self._port, self._client, kind, method, target, body)
        if native.status == 406 and "no handler found for uri" in str(answer.value):
            return None  # it went to upstream, whose minimal distribution does not have the API
        assert answer.shape == native.shape, (method, target, answer.value)
        if native.status in (400, 406):
            assert _kind_of(answer.value) == _kind_of(native.value)
            return None
        return answer.value


def _kind_of(refusal: Any) -> Any:
    error = refusal["error"]
    return error if isinstance(error, str) else (error["type"], error["reason"])


@pytest.fixture
async def call(elasticsearch: RunningElasticsearch, proxy: Edge, index: str, name: str) -> Caller:
    client = CLIENTS[name]
    return Caller(proxy, client, await Native.of(elasticsearch, client, index))


def ids(answer: Any) -> list[str]:
    return [hit["_id"] for hit in answer["hits"]["hits"]]


RANKED: Final = ["1", "2", "0"]


@pytest.mark.every_version
@pytest.mark.parametrize("name", CLIENTS)
async def test_searches(call: Caller, index: str) -> None:
    template = {"source": json.dumps(SEARCH)}
    two_stages = {**SEARCH, "aggs": {"n": {"value_count": {"field": "_index"}}}}
    source = f"source={quote(json.dumps(SEARCH))}&source_content_type=application/json"
    for one in (
        await call.found(BODY, "POST", f"/{index}/_search", SEARCH),
        await call.found(BODY, "GET", f"/{index}/_search", SEARCH),
        await call.found(BODY, "POST", f"/{index}/_search", two_stages),
        await call.found(NONE, "GET", f"/{index}/_search?{source}"),
        await call.found(NONE, "POST", f"/{index}/_search?{source}"),
        await call.found(BODY, "POST", f"/{index}/_search/template", template),
        await call.found(BODY, "POST", f"/{index}/_search/template", {"id": "films"}),
    ):
        assert one is None or ids(one) == RANKED
    for many in (
        await call.found(LINES, "POST", f"/{index}/_msearch", [{}, SEARCH]),
        await call.found(LINES, "POST", f"/{index}/_msearch/template", [{}, template]),
    ):
        assert many is None or [ids(each) for each in many["responses"]] == [RANKED]
    await call.missing(BODY, "POST", f"/{index}-none/_search", SEARCH)


@pytest.mark.parametrize("name", CLIENTS)
async def test_asynchronous_searches(call: Caller, index: str) -> None:
    target = f"/{index}/_async_search?keep_on_completion=true&wait_for_completion_timeout=10s"
    submitted = await call.found(BODY, "POST", target, SEARCH)
    if submitted is None:
        return
    assert ids(submitted["response"]) == RANKED
    id_ = submitted["id"]
    got = await call.found(NONE, "GET", f"/_async_search/{id_}")
    status = await call.found(NONE, "GET", f"/_async_search/status/{id_}")
    assert got is None or ids(got["response"]) == RANKED
    assert status is None or status["completion_status"] == 200
    if got is not None:
        assert await call.found(NONE, "DELETE", f"/_async_search/{id_}") == {"acknowledged": True}
        await call.missing(NONE, "GET", f"/_async_search/{id_}")


@pytest.mark.parametrize("name", CLIENTS)
async def test_endpoints(call: Caller) -> None:
    local = {"model_id": "numbers", "num_allocations": 1, "num_threads": 1}
    settings = {"service": "elasticsearch", "service_settings": local}
    question = {"query": "q", "input": ["a 1", "b 2"]}
    made = await call.found(BODY, "PUT", "/_inference/rerank/mine", settings)
    for path in ("/mine", "/rerank/mine"):
        scored = await call.found(BODY, "POST", f"/_inference{path}", question)
        assert scored is None or [each["index"] for each in scored["rerank"]] == [1, 0]
    await call.found(
        BODY, "PUT", "/_inference/rerank/mine/_update", {"service_settings": {"num_allocations": 2}}
    )
    listed = [
        await call.found(NONE, "GET", target) for target in ("/_inference", f"/_inference/rerank/{ENDPOINT}")
    ]
    for found in listed:
        assert found is None or ENDPOINT in [each["inference_id"] for each in found["endpoints"]]
    if made is not None and listed[0] is not None:
        removed = await call.found(NONE, "DELETE", "/_inference/mine")
        assert removed["acknowledged"] is True
        await call.missing(NONE, "GET", "/_inference/rerank/mine")
    await call.missing(BODY, "POST", "/_inference/rerank/none", question)


@pytest.mark.parametrize("name", CLIENTS)
async def test_trained_models(call: Caller) -> None:
    models = "/_ml/trained_models"
    made = await call.found(BODY, "PUT", f"{models}/mine", CONFIG)
    await call.found(NONE, "GET", models)
    await call.found(NONE, "GET", f"{models}/_stats")
    if made is None:
        return
    await call.found(BODY, "PUT", f"{models}/mine/definition/0", part_body(b"program", 7, 1))
    await call.found(BODY, "PUT", f"{models}/mine/vocabulary", {"vocabulary": TOKENS})
    started = await call.found(NONE, "POST", f"{models}/mine/deployment/_start?wait_for=started")
    question = {
        "docs": [{"text_field": "abc"}],
        "inference_config": {"text_similarity": {"text": "q"}},
    }
    if started is None:
        return
    scored = await call.found(BODY, "POST", f"{models}/mine/_infer", question)
    assert scored == {"inference_results": [{"predicted_value": 3.0}]}
    await call.found(BODY, "POST", f"{models}/mine/deployment/_update", {"number_of_allocations": 2})
    assert await call.found(NONE, "POST", f"{models}/mine/deployment/_stop") == {"stopped": True}
    assert await call.found(NONE, "DELETE", f"{models}/mine") == {"acknowledged": True}
    await call.missing(NONE, "GET", f"{models}/mine")
