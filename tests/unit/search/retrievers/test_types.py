"""The list of retrievers, and that one which lacks something cannot be in it."""

import ast
import inspect
from pathlib import Path

import pytest

from rerank_proxy.search import retrievers
from rerank_proxy.search.retrievers.compound import CompoundRetriever, WrappingRetriever
from rerank_proxy.search.retrievers.fusing import FusingRetriever
from rerank_proxy.search.retrievers.retriever import LeafRetriever, Retriever
from rerank_proxy.search.retrievers.types import RETRIEVERS
from tests.support.project import ROOT

FOLDER = Path(next(iter(retrievers.__path__)))
SEARCH = FOLDER.parent
BASES = (Retriever, LeafRetriever, CompoundRetriever, WrappingRetriever, FusingRetriever)


@pytest.mark.parametrize("retriever", RETRIEVERS, ids=lambda each: each.TYPE)
def test_each_has_a_module_of_its_own(retriever: type[Retriever]) -> None:
    """By its name, with its grammar and all else in it."""
    module = inspect.getmodule(retriever)
    assert module is not None
    assert module.__name__ == f"{retrievers.__name__}.{retriever.TYPE}"
    assert "parse" in vars(retriever)


@pytest.mark.parametrize("retriever", RETRIEVERS, ids=lambda each: each.TYPE)
def test_none_lacks_a_method(retriever: type[Retriever]) -> None:
    assert not inspect.isabstract(retriever)


@pytest.mark.parametrize("base", BASES, ids=lambda each: each.__name__)
def test_what_is_shared_is_no_retriever(base: type[Retriever]) -> None:
    assert inspect.isabstract(base)


def test_the_phases_know_no_retriever_by_name() -> None:
    """Only the fast path of one search is about one of them: a reranker right above a leaf."""
    own = {each.__name__ for each in RETRIEVERS}
    for file in sorted(SEARCH.rglob("*.py")):
        if FOLDER in file.parents:
            continue
        tested = {name for call in _type_tests(file) for name in _names(call)}
        expected = {"TextSimilarityReranker"} if file.name == "single_search.py" else set()
        assert tested & own == expected, file.relative_to(ROOT)


def _type_tests(file: Path) -> list[ast.expr]:
    calls = (node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Call))
    return [
        call.args[1]
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id in ("isinstance", "issubclass")
    ]


def _names(types: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(types) if isinstance(node, ast.Name)}
