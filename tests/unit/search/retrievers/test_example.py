"""The worked example of docs/architecture.md: a retriever takes a module and a line in the list."""

import json
from typing import Any

import pytest

from rerank_proxy.search.inner.matches import tail
from rerank_proxy.search.retrievers.compound import CompoundRetriever
from rerank_proxy.search.retrievers.retriever import Found
from rerank_proxy.search.retrievers.types import TOPMOST
from tests.support.example_retriever import ReversedRetriever
from tests.support.retrievers import read, refusal, rescorer, texts
from tests.support.searches import QUERY, STANDARD
from tests.unit.search.doubles import found, hit
from tests.unit.search.test_evaluation import Tree

FOUND = found(hit("1", 3.0), hit("2", 2.0, shard_doc=1), hit("3", 1.0, shard_doc=2))


@pytest.fixture(autouse=True)
def _listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dict_of(TOPMOST.parsers), ReversedRetriever.TYPE, ReversedRetriever.parse)


def dict_of(parsers: Any) -> dict[str, Any]:
    assert isinstance(parsers, dict)
    return parsers


def reversed_(child: Any = STANDARD, **options: Any) -> Any:
    return {"reversed": {"retriever": child, **options}}


async def evaluated(retriever: Any) -> Found:
    tree = Tree({"a": FOUND, "ranked": FOUND})
    return await tree.evaluate(retriever)


async def test_it_is_evaluated() -> None:
    root = await evaluated(reversed_())
    assert [(doc.id, doc.score) for doc in root.docs] == [("3", 3.0), ("2", 2.0), ("1", 1.0)]


async def test_it_may_stand_in_any_other() -> None:
    root = await evaluated(rescorer(reversed_()))
    assert [doc.id for doc in root.children[0].docs] == ["3", "2", "1"]


async def test_the_final_search_finds_what_its_child_matches() -> None:
    assert json.loads(tail(await evaluated(reversed_()))) == QUERY


def test_its_faults_are_worded_as_those_of_any_other() -> None:
    assert texts(refusal(reversed_(rank_windows_size=5)))[-1] == (
        "[reversed] unknown field [rank_windows_size] did you mean [rank_window_size]?"
    )


def test_filters_reach_its_child() -> None:
    retriever = read(reversed_(filter={"term": {"a": 1}}))
    assert isinstance(retriever, CompoundRetriever)
    (child,) = retriever.with_filters().children
    assert child.filters == (b'{"term": {"a": 1}}',)
