"""What is asked of a proxy for titles, and what becomes of titles that it refuses."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rerank_proxy.relevance.client.searching import Found, RefusedError, Searcher
from rerank_proxy.relevance.judgments import Hit
from rerank_proxy.relevance.templates import bm25
from rerank_proxy.relevance.training.collecting import Asked, practise
from rerank_proxy.relevance.training.titles import WINDOW
from tests.support.quiet import quiet
from tests.support.trainings import material

ASKED = Asked("films", "plot", bm25("plot"), 50)


class Titles(Searcher):
    """Finds one text for each title, but for some."""

    size = 0

    async def search(self, index: str, body: Mapping[str, Any]) -> Found:
        self.size = body["size"]
        if "refused" in str(body):
            raise RefusedError(400, "cannot be parsed")
        if "nothing" in str(body):
            return Found([], 1.0, None, {})
        return Found([Hit("d", 1.0)], 1.0, None, {"d": {"plot": ["a text"]}})


async def test_titles_that_find_nothing_are_left_out(tmp_path: Path) -> None:
    titles = {"q0-0": "one that finds", "q0-1": "refused: (", "q0-2": "nothing"}
    searcher = Titles("http://127.0.0.1:1")
    made = await practise(
        searcher, ASKED, replace(material(2), titles=titles), tmp_path / "scores.jsonl", quiet
    )
    assert made.practice is not None
    assert [*made.practice.queries] == ["q0-0"]
    assert made.practice.window("q0-0") == ["d"]
    assert searcher.size == WINDOW
