"""From a document's text to the chunks that the model reads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.chunks import (
    ChunkingSettings,
    ChunkRescorer,
    ChunkSelector,
    NoneChunkingSettings,
    RecursiveChunkingSettings,
    SentenceBoundaryChunkingSettings,
    WordBoundaryChunkingSettings,
    default_chunking,
)
from rerank_proxy.chunks.chunkers import chunk
from rerank_proxy.concurrency.steps import run_at_once
from rerank_proxy.errors import ElasticsearchError
from tests.support.chunks import read

TEXT = (
    "Cats like to sleep all day and play with mice. Dogs are loyal companions and great pets. "
    "The weather today is very sunny and warm. Dogs love to play with toys and go for walks. "
    "Elasticsearch is a great search engine."
)
SENTENCES = SentenceBoundaryChunkingSettings(10, 0)
TEXTS = st.lists(st.sampled_from(["dog", "Cats", "a", "b", ". ", " ", "! ", "\n", "中文"]), max_size=60).map(
    "".join
)
SETTINGS: st.SearchStrategy[ChunkingSettings] = st.sampled_from(
    [
        NoneChunkingSettings(),
        WordBoundaryChunkingSettings(4, 1),
        SentenceBoundaryChunkingSettings(5, 1),
        SentenceBoundaryChunkingSettings(5, 0),
        RecursiveChunkingSettings(3, ("\n", "o")),
    ]
)


def select(text: str, query: str, size: int = 1, chunking: ChunkingSettings = SENTENCES) -> list[str]:
    selector = ChunkSelector(ChunkRescorer(size, chunking), query, default_chunking(300))
    return [text[start:end] for start, end in run_at_once(selector.select(text))]


def test_the_best_come_first() -> None:
    assert select(TEXT, "dogs play walk", 3) == [
        "Dogs love to play with toys and go for walks. ",
        "Dogs are loyal companions and great pets. ",
        "Cats like to sleep all day and play with mice. ",
    ]


def test_only_what_matches_is_taken() -> None:
    assert select(TEXT, "Weather?", 3) == ["The weather today is very sunny and warm. "]


def test_equal_ones_are_in_the_order_of_the_text() -> None:
    assert select("A dog 1.\nB cat 2.\nC dog 3.\n", "dog", 2, SentenceBoundaryChunkingSettings(4, 0)) == [
        "A dog 1.\n",
        "C dog 3.\n",
    ]


@pytest.mark.parametrize("query", ["zebra", "!?", "\xa0"])
def test_the_first_ones_where_none_matches(query: str) -> None:
    assert select(TEXT, query, 2) == [
        "Cats like to sleep all day and play with mice. ",
        "Dogs are loyal companions and great pets. ",
    ]


@pytest.mark.parametrize("query", ["", "  ", "\t\n\x00"])
def test_nothing_for_a_blank_query(query: str) -> None:
    assert select(TEXT, query, 3) == []


def test_an_empty_text_is_its_only_chunk() -> None:
    assert select("", "dogs") == [""]


def test_the_only_chunk_need_not_match() -> None:
    assert select("Cats sleep.", "dogs", 5) == ["Cats sleep."]


@pytest.mark.parametrize(
    ("rescorer", "chunks"),
    [
        (ChunkRescorer(), 1),
        (ChunkRescorer(9), 5),
        (ChunkRescorer(9, NoneChunkingSettings()), 1),
        (ChunkRescorer(2, SENTENCES), 2),
    ],
)
def test_what_the_request_says_goes_before_the_default(rescorer: ChunkRescorer, chunks: int) -> None:
    every_chunk = "and is dogs"
    assert len(run_at_once(ChunkSelector(rescorer, every_chunk, SENTENCES).select(TEXT))) == chunks


def test_chunks_that_are_cut_within_words_are_analysed_anew() -> None:
    text, chunking = "one twothree four five", RecursiveChunkingSettings(2, ("th",))
    assert select(text, "three", 1, chunking) == ["three four"]
    assert select(text, "two", 1, chunking) == ["one two"]
    assert select(text, "twothree five", 3, chunking) == [" five"]


def test_a_separator_that_is_not_an_expression() -> None:
    chunking = RecursiveChunkingSettings(10, ("(",))
    assert select("short enough", "x", chunking=chunking) == ["short enough"]
    with pytest.raises(ElasticsearchError) as raised:
        select(TEXT, "x", chunking=chunking)
    assert raised.value.status == 400


@given(TEXTS, SETTINGS, st.integers(1, 5), st.sampled_from(["dog cats", "zebra", "a"]))
def test_a_subset_of_the_chunks(text: str, settings: ChunkingSettings, size: int, query: str) -> None:
    chunks = [text[start:end] for start, end in run_at_once(chunk(read(text), settings))]
    selected = select(text, query, size, settings)
    assert 1 <= len(selected) <= min(size, len(chunks))
    for each in selected:
        chunks.remove(each)


@given(TEXTS, SETTINGS, st.integers(1, 4))
def test_more_chunks_begin_with_the_same_ones(text: str, settings: ChunkingSettings, size: int) -> None:
    assert select(text, "dog a", size + 1, settings)[:size] == select(text, "dog a", size, settings)


@given(st.lists(TEXTS, max_size=4), SETTINGS)
def test_documents_do_not_influence_each_other(texts: list[str], settings: ChunkingSettings) -> None:
    selector = ChunkSelector(ChunkRescorer(2, settings), "dog 中", default_chunking(300))
    for text in texts:
        selected = [text[start:end] for start, end in run_at_once(selector.select(text))]
        assert selected == select(text, "dog 中", 2, settings)
