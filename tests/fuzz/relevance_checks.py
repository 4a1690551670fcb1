"""What users and foreign servers give to the playground, to clicks, and to evaluations."""

import asyncio
import json
import math
import posixpath
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.online.clicks import read_clicks
from rerank_proxy.online.memory import Clicked, ClickMemory, Compared, Shown
from rerank_proxy.pages import allowed
from rerank_proxy.relevance.client.endpoints import look_up, scores_of
from rerank_proxy.relevance.client.index_state import missing, state_of
from rerank_proxy.relevance.client.searching import Reply, Searcher
from rerank_proxy.relevance.client.x_rerank import rerankings
from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.formats import reading, writing
from rerank_proxy.relevance.judging.texts import texts_of
from rerank_proxy.relevance.templates import Template, read_template
from tests.fuzz.other_checks import directory
from tests.fuzz.pieces import choose

_APIS: Final = ("_search", "_msearch", "template", "_field_caps", "_mapping")
_NAMED: Final = ("/_cat/indices", "/_resolve/index/", "/_inference/rerank")


def check_playground(data: bytes) -> None:
    """A path that the playground sends reaches the same API, whichever server decodes it."""
    method, _, path = data.decode("latin-1").partition(" ")
    try:
        allowed.check(method, path)
    except ElasticsearchError as refusal:
        assert refusal.status in (400, 403)
        return
    assert method in ("GET", "POST")
    sent = path.partition("?")[0]
    for seen in (sent, unquote(sent, "latin-1")):
        resolved = posixpath.normpath(seen.partition("?")[0].partition("#")[0])
        assert resolved.startswith(_NAMED) or resolved.rpartition("/")[2] in _APIS, resolved


class _NoCounts:
    """Counts nothing."""

    def clicks(self, outcome: str, number: int) -> None:
        assert number > 0

    def first_click(self, compared: Compared) -> None:
        """Do nothing."""

    def nearer(self, compared: Compared, before: float, after: float) -> None:
        assert 0 <= before <= 1
        assert 0 <= after <= 1

    def decided(self, compared: Compared, decision: str) -> None:
        """Do nothing."""


def check_clicks(data: bytes) -> None:
    """The body of `POST /clicks` is refused, or each of its clicks is counted once, whatever ids it has."""
    try:
        clicks = read_clicks(data)
    except ElasticsearchError as refusal:
        assert refusal.status == 400
        return
    memory = ClickMemory(_NoCounts(), max_searches=1, max_bytes=100_000, keep_s=60.0)
    compared = Compared("interleaved", "e", "m")
    id_ = memory.remember(compared, [Shown("films", "1", 1, 2, "own"), Shown("films", "2", 2, 1, "other")])
    assert id_ is not None
    for each in clicks:
        documents = [
            Clicked(it) if isinstance(it, str) else Clicked(it.id, it.index) for it in each.documents
        ]
        for search in (each.search, id_):
            assert len(memory.click(search, documents)) == len(documents)
            assert "counted" not in memory.click(search, documents)
    memory.clear()


def check_x_rerank(data: bytes) -> None:
    """Whatever a server sends in `X-Rerank`, what is read of it can be added up."""
    for each in rerankings(data.decode("utf-8", "surrogateescape")):
        for number in (each.window, each.scored, each.cached, each.truncated, each.ms):
            assert number is None or (math.isfinite(number) and number >= 0)


_KINDS: Final[tuple[tuple[str, Callable[[Path], Any]], ...]] = (
    ("judged.jsonl", reading.read_queries),
    ("queries.tsv", reading.read_queries),
    ("qrels", reading.read_judgments),
    ("clicks.tsv", reading.read_clicks),
    ("retriever.json", read_template),
    ("retriever.yaml", read_template),
)


def check_judged_files(data: bytes) -> None:
    """Files of queries, judgments, clicks and retrievers are read, or refused in a line that names the file.

    What was read is the same once it has been written; a template takes the texts of queries as texts.
    """
    (name, read), content = choose(data, _KINDS)
    path = directory() / name
    path.write_bytes(content)
    try:
        found = read(path)
    except RelevanceError as refusal:
        assert str(refusal).startswith(str(path))
        return
    if isinstance(found, Template):
        query = '"}{{query}}{{window}}'
        assert json.dumps(query)[1:-1] in json.dumps(found.fill(query), allow_nan=False)
    elif read is reading.read_judgments:
        again = path.with_suffix(".jsonl")
        writing.write_judgments(again, found)
        assert reading.read_judgments(again) == found


class _Answered(Searcher):
    """Gets the same answer whatever it asks, without a network."""

    body: bytes = b""

    async def _exchange(self, method: str, path: str, body: Mapping[str, Any] | None) -> Reply:
        return Reply(200, self.body, {}, 1.0)


_ASKED: Final[tuple[Callable[[Searcher], Awaitable[Any]], ...]] = (
    lambda searcher: searcher.search("films", {}),
    lambda searcher: state_of(searcher, "films", ["e"]),
    lambda searcher: missing(searcher, "films", ["1"]),
    lambda searcher: look_up(searcher, "e"),
    lambda searcher: scores_of(searcher, "e", "query", ["text"]),
    lambda searcher: texts_of(searcher, "films", ["plot"])(["1"]),
)


@cache
def _runner() -> asyncio.Runner:
    return asyncio.Runner()


def check_answers_to_commands(data: bytes) -> None:
    """A server that a command asks may answer anything. What is taken of it can be written to a file."""
    ask, body = choose(data, _ASKED)
    searcher = _Answered("http://127.0.0.1:1", patience_s=0)
    searcher.body = body
    try:
        found = _runner().run(_awaited(ask(searcher)))
    except RelevanceError as refusal:
        assert "\n" not in str(refusal)
    else:
        msgspec.json.encode(found)


async def _awaited(asked: Awaitable[Any]) -> Any:
    return await asked
