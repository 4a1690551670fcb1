"""`rerank-proxy judge` with a real index and a real reranker, and with a server in a chat model's place."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web
from click.testing import CliRunner, Result
from elasticsearch import Elasticsearch

from rerank_proxy.cli import main
from rerank_proxy.inference.endpoints import Endpoints
from rerank_proxy.relevance.client.endpoints import look_up
from rerank_proxy.relevance.client.searching import Searcher
from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.formats.reading import read_judgments
from rerank_proxy.relevance.judging.acts import Act
from rerank_proxy.relevance.judging.endpoint_judge import IN_A_ROW, Asking, prompt_of
from rerank_proxy.relevance.judging.grading import Grading, chat_thresholds
from rerank_proxy.relevance.judging.texts import texts_of
from rerank_proxy.relevance.judging.workspace import SCALE, Workspace
from testbed import RunningElasticsearch
from testbed.proxy import RunningProxy
from tests.live.conftest import ENDPOINT, MakeIndex
from tests.support.endpoints import MemoryStore
from tests.support.judgings import made
from tests.support.pages import read
from tests.support.project import ROOT
from tests.support.quiet import quiet
from tests.support.remote import Remote
from tests.support.search_app import search_app

PAGE: Final = read(ROOT / "docs" / "judging.md")
FILMS: Final[list[dict[str, Any]]] = json.loads((ROOT / "demo" / "films.json").read_text(encoding="utf-8"))
QUERIES: Final = {
    "1": "the bad man who eats the people that he meets",
    "2": "a heist that goes wrong in the city",
    "3": "the gangsters of New York and a family of theirs",
}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["judge", *map(str, arguments)])


def works(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_from_queries_to_judgments(proxy: RunningProxy, make_index: MakeIndex, tmp_path: Path) -> None:
    index = make_index(FILMS)
    queries, judging = tmp_path / "queries.tsv", tmp_path / "judging"
    queries.write_text("".join(f"{name}\t{text}\n" for name, text in QUERIES.items()))
    pool = (
        *("pool", judging, queries, "--url", proxy.server.url, "--index", index, "--show", "title"),
        *("--show", "plot", "--system", "bm25:plot", "--endpoint", ENDPOINT, "--field", "plot", "--depth", 5),
    )
    refused = run(*pool[:5], "--index", "no-such-index", *pool[7:])
    assert refused.exit_code == 1
    assert "no such index [no-such-index]" in refused.output
    said = works(*pool)
    assert f"documents to judge for 3 queries, in {judging}" in said
    assert f"next: rerank-proxy judge open {judging} --as NAME --url {proxy.server.url}" in said
    pools = Workspace.opened(judging).pool()
    assert {name: each.text for name, each in pools.items()} == QUERIES
    assert all(5 <= len(each.documents) <= 10 for each in pools.values())
    assert sum(each.systems[ENDPOINT].alone for each in pools.values()) > 0

    before = (judging / "pool.jsonl").read_bytes()
    lines = before.splitlines(keepends=True)
    (judging / "pool.jsonl").write_bytes(b"".join(lines[:1]) + lines[1][:20])
    ask = ("ask", judging, "--by", ENDPOINT, "--url", proxy.server.url)
    assert "1 of 3 queries are pooled" in run(*ask, "--chat").output
    works(*pool)
    assert sorted((judging / "pool.jsonl").read_bytes().splitlines(keepends=True)) == sorted(lines)
    other = run(*pool[:-1], 6)
    assert other.exit_code == 1
    assert "was made with depth 5 rather than 6" in other.output

    gone = next(iter(pools["1"].documents))
    with Elasticsearch(proxy.server.url) as client:
        client.delete(index=index, id=gone, refresh=True)
    missing = sum(gone in each.documents for each in pools.values())
    assert f"{missing} are no longer in the index" in works(*ask, "--quantiles", "0.5,0.7,0.9")
    assert "do not use these judgments to evaluate minilm" in works(*ask, "--thresholds=0,2,4")
    assert run(*ask, "--thresholds", "1,2").exit_code == 1

    assert "there are no grades to write yet" in run("write", judging, tmp_path / "none").output
    written = tmp_path / "qrels.txt"
    works("write", judging, written, "--from", f"endpoint:{ENDPOINT}")
    assert {line.split()[1] for line in written.read_text().splitlines()} == {f"endpoint:{ENDPOINT[1:]}"}
    documents = sum(len(each.documents) for each in pools.values())
    assert sum(map(len, read_judgments(written).values())) == documents - missing
    evaluated = CliRunner().invoke(
        main,
        [
            *("evaluate", "--queries", str(queries), "--judgments", str(written), "--index", index),
            *("--url", proxy.server.url, "--field", "plot", "--endpoint", ENDPOINT),
            *("--out", str(tmp_path / "evaluation")),
        ],
    )
    assert evaluated.exit_code == 1
    assert f"{ENDPOINT}: it, or its model, has made judgments of {written}" in evaluated.output
    told = json.loads((tmp_path / "qrels.txt.judged.json").read_text())
    assert told["unjudged"] == missing
    assert (told["judges"][0]["endpoint"], told["judges"][0]["model"]) == (ENDPOINT, "minilm")


class ChatModel:
    """A server with OpenAI's API of chats, in a chat model's place: it answers what the test says.

    Attributes:
        asked: The bodies of its requests.
        silent: It gives no grades.
    """

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.silent = False
        self.url = ""

    def grade(self, prompt: str) -> str:
        if self.silent:
            return "I would rather not say"
        document = prompt.partition("Document:")[2]
        return "3" if "psychiatrist" in document else "perhaps" if "dinosaurs" in document else "0"

    async def answer(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer <api key>"
        body = await request.json()
        self.asked.append(body)
        content = self.grade(body["messages"][-1]["content"])
        message = {"role": "assistant", "content": content}
        return web.json_response({"object": "chat.completion", "choices": [{"index": 0, "message": message}]})

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["ChatModel"]:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = site.name
            yield self
        finally:
            await runner.cleanup()


def configuration(url: str) -> Any:
    """The endpoint of docs/judging.md, at an address of the test."""
    found = re.search(r"^PUT _inference/rerank/my-judge\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return json.loads(found[1].replace("https://llm.example.com", url))


@pytest.fixture
async def remote() -> AsyncIterator[Remote]:
    remote = Remote(retry_total_s=0)
    yield remote
    await remote.client.close()


async def test_a_chat_model_answers_with_grades(
    elasticsearch: RunningElasticsearch, make_index: MakeIndex, remote: Remote, tmp_path: Path
) -> None:
    index = make_index(FILMS)
    titles = [film["title"] for film in FILMS]
    silence, park, other = (
        str(titles.index(name)) for name in ("The Silence of the Lambs", "Jurassic Park", "Fargo")
    )
    workspace = made(tmp_path, {"q": [silence, park, other]}, index=index)
    endpoints = Endpoints(remote.services, {}, MemoryStore())
    async with ChatModel().serving() as model, search_app(elasticsearch.url, endpoints=endpoints) as app:
        answer = await app.call("PUT", "/_inference/rerank/my-judge", configuration(model.url))
        assert answer.status == 200, answer.body
        model.asked.clear()
        async with Searcher(app.url, concurrency=1) as searcher, Searcher(elasticsearch.url) as reader:
            assert (await look_up(searcher, "my-judge")).service == "custom"
            prompt = prompt_of(None, SCALE)
            texts = texts_of(reader, index, ["title", "plot"])
            with workspace.machine_file("my-judge") as file:
                asking = Asking(searcher, "my-judge", prompt, texts, quiet)
                asked = await asking.run(workspace.pool(), file)
                assert (asked.done, asked.documents, asked.unclear) == (2, 3, 1)
                assert "not a number" in str(asked.reason)
                scores = {act.pair: act.score for act in file.lines}
            assert len(model.asked) == 3
            (first,) = [body["messages"] for body in model.asked if "psychiatrist" in str(body)]
            assert "Query: the query q" in first[-1]["content"]
            assert "3: the document is what was looked for" in first[-1]["content"]
            assert "The Silence of the Lambs\n" in first[-1]["content"]
            model.silent = True
            everything = made(tmp_path / "all", {"q": [str(number) for number in range(len(FILMS))]})
            with everything.machine_file("my-judge") as silent, pytest.raises(RelevanceError) as refused:
                await Asking(searcher, "my-judge", prompt, texts, quiet).run(everything.pool(), silent)
            assert f"gave no scores {IN_A_ROW} times in a row" in str(refused.value)
            assert len(model.asked) == 3 + IN_A_ROW
    assert scores == {("q", silence): 3.0, ("q", other): 0.0}
    grades = Grading(way="thresholds", bounds=chat_thresholds(3)).grades(
        {("q", silence): 3.0, ("q", other): 0.0}
    )
    assert grades == {("q", silence): 3, ("q", other): 0}
    assert [act.query for act in file.lines] == ["q", "q"]
    assert isinstance(file.lines[0], Act)
