"""`chunk_rescorer` in a search: which parts of a text the model reads, and what becomes of their scores."""

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import pytest_asyncio

from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.support.search_app import TWO_STAGES, SearchApp, search_app
from tests.support.searches import reranking

FILLER: Final = "It was a quiet and rainy evening in the old town by the river, and nobody went out. "
LONG: Final = (
    FILLER + "A dog barked at the moon above the harbour until the very last ship had left it. " + FILLER
)
MAPPING: Final = {"properties": {"text": {"type": "text"}, "n": {"type": "integer"}}}
ALL: Final[dict[str, Any]] = {"standard": {"query": {"match_all": {}}}}
BY_SENTENCE: Final = {"strategy": "sentence", "max_chunk_size": 20, "sentence_overlap": 0}


@pytest_asyncio.fixture
async def app(elasticsearch: RunningElasticsearch) -> AsyncIterator[SearchApp]:
    async with search_app(elasticsearch.url) as running:
        yield running


def chunked(inference_text: str = "barking dog barked", **options: Any) -> dict[str, Any]:
    return reranking(ALL, inference_text=inference_text, chunk_rescorer=options)


@pytest.mark.every_version
@pytest.mark.parametrize("path", ["", TWO_STAGES])
async def test_the_best_chunk_stands_for_a_document(app: SearchApp, make_index: MakeIndex, path: str) -> None:
    index = make_index([{"text": LONG}, {"text": "short 1"}], mappings=MAPPING)
    dog = "A dog barked at the moon above the harbour until the very last ship had left it. "
    app.engine.table = {dog: 5.0, dog.strip(): 5.0, "short 1": 1.0}
    answer = await app.search(index, chunked(size=1, chunking_settings=BY_SENTENCE), path)
    assert answer.ids == ["0", "1"], answer.body
    assert answer.scores == [6.0, 2.0]
    assert {text.strip() for text in app.engine.asked[0]} == {dog.strip(), "short 1"}
    assert answer.hits[0]["_source"] == {"text": LONG}


async def test_of_several_chunks_the_highest_score_counts(app: SearchApp, make_index: MakeIndex) -> None:
    index = make_index([{"text": LONG}], mappings=MAPPING)
    dog = "A dog barked at the moon above the harbour until the very last ship had left it."
    scores = {dog: -1.0, FILLER.strip(): 2.0}
    app.engine.table = {
        each: score for text, score in scores.items() for each in (text, text + " ", " " + text)
    }
    answer = await app.search(index, chunked("dog evening", size=3, chunking_settings=BY_SENTENCE))
    assert len(app.engine.asked[0]) == 3
    assert answer.scores == [3.0]


async def test_a_blank_query_asks_for_nothing(app: SearchApp, make_index: MakeIndex) -> None:
    index = make_index([{"text": LONG}], mappings=MAPPING)
    answer = await app.search(index, chunked(" ", size=2))
    assert (answer.scores, app.engine.asked) == ([1.0], [])


async def test_sizes_below_one_are_refused(app: SearchApp, make_index: MakeIndex) -> None:
    answer = await app.search(make_index(), chunked(size=0))
    assert (answer.status, answer.cause["reason"]) == (400, "size must be greater than 0, was: 0")
    assert app.upstream.sent == []


async def test_explanations_mention_it(app: SearchApp, make_index: MakeIndex) -> None:
    index = make_index([{"text": "short 1"}], mappings=MAPPING)
    answer = await app.search(index, {**chunked(size=2), "explain": True})
    assert answer.hits[0]["_explanation"]["description"].endswith("considering only top [2] best chunks")
