"""A server that a command asks may answer anything: it is used, or what is wrong is said in a line."""

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from rerank_proxy.relevance.client.endpoints import look_up, scores_of
from rerank_proxy.relevance.client.foreign_answers import MAX_DEPTH, NotJsonError, parsed
from rerank_proxy.relevance.client.index_state import missing, state_of
from rerank_proxy.relevance.client.searching import Searcher
from rerank_proxy.relevance.client.x_rerank import rerankings
from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.judging.texts import texts_of
from tests.support.judged_index import judged_index

ASKED: dict[str, Callable[[Searcher], Awaitable[Any]]] = {
    "search": lambda searcher: searcher.search("films", {"retriever": {}}),
    "state": lambda searcher: state_of(searcher, "films", ["e"]),
    "missing": lambda searcher: missing(searcher, "films", ["1"]),
    "look up": lambda searcher: look_up(searcher, "e"),
    "scores": lambda searcher: scores_of(searcher, "e", "query", ["text"]),
    "texts": lambda searcher: texts_of(searcher, "films", ["plot"])(["1"]),
}
NONE: Sequence[Any] = (
    None,
    True,
    1,
    "text",
    [],
    {},
    [None],
    {"hits": None},
    {"hits": []},
    {"hits": {"hits": None}},
)
HITS: Sequence[Any] = (
    [None],
    [1],
    ["1"],
    [{}],
    [{"_id": None}],
    [{"_id": ["1"]}],
    [{"_id": "1", "fields": ["plot"]}],
)
ODD: Sequence[Any] = (
    *NONE,
    *({"hits": {"hits": hits}} for hits in HITS),
    {"hits": {"hits": [{"_id": "1", "fields": {"plot": None}}]}},
    {"count": []},
    {"count": "many"},
    {"count": 1, "version": []},
    {"endpoints": None},
    {"endpoints": [None]},
    {"endpoints": [{"service": 1}]},
    {"endpoints": [{"service": "s", "service_settings": []}]},
    {"rerank": None},
    {"rerank": [{"index": None, "relevance_score": 1}]},
    {"rerank": [{"index": 0, "relevance_score": "high"}]},
    {"rerank": [{"index": 1, "relevance_score": 1}]},
)


@pytest.mark.parametrize("what", ASKED)
async def test_answers_of_other_shapes(what: str) -> None:
    async with judged_index() as index, Searcher(index.url) as searcher:
        for odd in ODD:
            index.always = json.dumps(odd).encode()
            assert "\n" not in await told(ASKED[what](searcher)), odd


async def told(asked: Awaitable[Any]) -> str:
    """Return what was found, or what is wrong."""
    try:
        return repr(await asked)
    except RelevanceError as failure:
        return str(failure)


@pytest.mark.parametrize(
    "body",
    [
        b'{"_id": "\\ud800"}',
        b'{"_id": "\xff"}',
        b'{"count": 1e999}',
        b'{"relevance_score": NaN}',
        b'{"relevance_score": -Infinity}',
        b"9" * 5000,
        b"[" * 100_000,
        b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2),
        b'{"a": 1} {}',
        b"",
    ],
)
def test_what_could_not_be_written_again_is_refused(body: bytes) -> None:
    with pytest.raises(NotJsonError):
        parsed(body)


def test_an_answer_as_deep_as_it_may_be() -> None:
    deep = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert json.dumps(parsed(deep)).encode() == deep


async def test_an_endpoint_says_who_it_is_in_text() -> None:
    """A model that is no text would make the file of a judging one that cannot be read again."""
    async with judged_index() as index, Searcher(index.url) as searcher:
        settings = {"model_id": {"id": 1}}
        index.always = json.dumps({"endpoints": [{"service": "s", "service_settings": settings}]}).encode()
        info = await look_up(searcher, "e")
        assert (info.service, info.model) == ("s", None)


async def test_no_score_is_beyond_what_can_be_reckoned_with() -> None:
    """The spread of the scores of a teacher is the root of a sum of their squares."""
    async with judged_index() as index, Searcher(index.url) as searcher:
        for score in (1e39, -1e308):
            index.always = json.dumps({"rerank": [{"index": 0, "relevance_score": score}]}).encode()
            with pytest.raises(RelevanceError, match="without a score for every text"):
                await scores_of(searcher, "e", "query", ["text"])
        index.always = b'{"rerank": [{"index": 0, "relevance_score": -3.4e38}]}'
        assert await scores_of(searcher, "e", "query", ["text"]) == [-3.4e38]


@pytest.mark.parametrize("ms", ["nan", "inf", "-1", "1e999", "1_0", "", "9" * 400, "\u0661"])
def test_times_that_are_none(ms: str) -> None:
    """One of them would be the median of all."""
    (found,) = rerankings(f"applied; endpoint=e; ms={ms}")
    assert found.ms is None
    assert rerankings("applied; ms=41.3")[0].ms == 41.3
