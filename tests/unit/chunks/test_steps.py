"""Texts of any kind are cut into chunks in steps, none of which is much work."""

import gc
import time
from collections.abc import Callable

import pytest

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
from rerank_proxy.chunks.settings import MARKDOWN_SEPARATORS, PLAINTEXT_SEPARATORS
from tests.support.processor_time import slowness

SIZE = 50_000
PARTS = [
    "word ",
    "a. ",
    "0",
    ". ",
    "\n",
    "\n\n",
    "中",
    "中文。",
    "한",
    "ไทย",
    "\u0301",
    "😀",
    "\u200d",
    "#",
    "x" * 300 + ". ",
    "\n# a b c",
    "T\n--\n",
]
STRATEGIES: list[ChunkingSettings] = [
    NoneChunkingSettings(),
    WordBoundaryChunkingSettings(10, 5),
    SentenceBoundaryChunkingSettings(20, 1),
    RecursiveChunkingSettings(10, PLAINTEXT_SEPARATORS),
    RecursiveChunkingSettings(10, MARKDOWN_SEPARATORS),
]


@pytest.fixture(scope="module", autouse=True)
def uncollected() -> None:
    """Keep the collector from going through what other tests have left."""
    gc.collect()
    gc.freeze()


@pytest.mark.parametrize("chunking", STRATEGIES)
@pytest.mark.parametrize("part", PARTS)
def test_no_text_costs_more_than_its_length(part: str, chunking: ChunkingSettings) -> None:
    """Some microseconds for each character, and no step a quarter of a second."""
    text = (part * SIZE)[:SIZE] + " Find this. " * 30
    selector = ChunkSelector(ChunkRescorer(3, chunking), "find 0 a 中 한 ไทย", default_chunking(300))
    longest, total = costs(selector.select(text).__next__)
    assert total < 10e-6 * len(text)
    assert longest < 0.25


def costs(step: Callable[[], None]) -> tuple[float, float]:
    """Return the processor seconds of the longest step, and of all."""
    longest = total = 0.0
    slow = slowness()
    while True:
        began = time.thread_time()
        try:
            step()
        except StopIteration:
            slow = max(slow, slowness())
            return longest / slow, total / slow
        finally:
            spent = time.thread_time() - began
            longest, total = max(longest, spent), total + spent


def test_a_query_of_many_terms_makes_no_table_of_terms_by_chunks() -> None:
    words = [f"w{number}" for number in range(20_000)]
    text = ". ".join(words)
    selector = ChunkSelector(
        ChunkRescorer(1, WordBoundaryChunkingSettings(10, 5)), text, default_chunking(300)
    )
    _, total = costs(selector.select(text).__next__)
    assert total < 20e-6 * len(text)
