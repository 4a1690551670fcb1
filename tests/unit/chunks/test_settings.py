"""Sizes and defaults."""

import pytest

from rerank_proxy.chunks import (
    ChunkRescorer,
    SentenceBoundaryChunkingSettings,
    default_chunking,
    default_window_words,
)
from rerank_proxy.errors import ElasticsearchError


@pytest.mark.parametrize("size", [0, -1, -(2**31)])
def test_a_size_below_one_is_refused_when_it_is_checked(size: int) -> None:
    with pytest.raises(ElasticsearchError) as raised:
        ChunkRescorer(size).check()
    assert raised.value.status == 400
    assert raised.value.cause.type == "illegal_argument_exception"
    assert raised.value.cause.reason == f"size must be greater than 0, was: {size}"


@pytest.mark.parametrize("rescorer", [ChunkRescorer(), ChunkRescorer(1), ChunkRescorer(2**31 - 1)])
def test_any_other_size_is_fine(rescorer: ChunkRescorer) -> None:
    rescorer.check()


def test_the_default_is_sentences_up_to_the_window() -> None:
    assert default_chunking(2800) == SentenceBoundaryChunkingSettings(2800, 0)


@pytest.mark.parametrize(
    ("service", "model", "words"),
    [
        ("elasticsearch", ".rerank-v1", 300),
        ("cohere", "rerank-v3.5", 2800),
        ("jinaai", None, 5500),
        ("voyageai", "rerank-2", 5500),
        ("voyageai", "rerank-lite-1", 2800),
        ("mixedbread", "mixedbread-ai/mxbai-rerank-large-v2", 22000),
        ("mixedbread", "mixedbread-ai/mxbai-rerank-xsmall-v1", 300),
        ("cohere", "rerank-lite-1", 2800),
        ("anything", "else", 300),
    ],
)
def test_windows(service: str, model: str | None, words: int) -> None:
    assert default_window_words(service, model) == words
