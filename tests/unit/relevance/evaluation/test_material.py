"""What an evaluation is made of: which queries are asked, and with which judgments."""

import json
from pathlib import Path

import pytest

from rerank_proxy.relevance.clicks import ClickModel
from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.evaluation.material import material_of, spread
from rerank_proxy.relevance.judgments import Query


@pytest.fixture
def judgments(tmp_path: Path) -> Path:
    path = tmp_path / "judgments.jsonl"
    lines = ({"id": str(at), "query": f"query {at}", "grades": {"a": 2, "b": 0}} for at in range(10))
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.mark.parametrize(
    ("limit", "asked"), [(1, "0"), (3, "036"), (9, "012345678"), (10, "0123456789"), (99, "0123456789")]
)
def test_a_limit_takes_queries_that_are_spread_over_all(judgments: Path, limit: int, asked: str) -> None:
    """A file is often sorted, by subject or by how many judgments there are."""
    material = material_of(None, judgments, None, ClickModel(), limit)
    assert [*material.paired.queries] == [*asked]
    assert material.judged == 2 * len(asked)


@pytest.mark.parametrize(
    ("queries", "number", "chosen"), [("abcd", 2, "ac"), ("ab", 5, "ababa"), ("ab", 0, ""), ("", 3, "")]
)
def test_a_few_queries_are_taken_again(queries: str, number: int, chosen: str) -> None:
    assert [each.id for each in spread([Query(name, name) for name in queries], number)] == [*chosen]


def test_queries_that_no_judgment_is_of(judgments: Path, tmp_path: Path) -> None:
    queries = tmp_path / "queries.tsv"
    queries.write_text("x\tanother query\n")
    with pytest.raises(RelevanceError, match=r"no query of .*queries\.tsv has a document graded above 0 in"):
        material_of(queries, judgments, None, ClickModel())
