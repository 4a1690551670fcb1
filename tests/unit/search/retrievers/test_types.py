"""The list of retrievers, in which one that lacks something cannot be."""

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
    """It has the retriever's name, and holds its grammar and everything else."""
    module = inspect.getmodule(retriever)
    assert module is not None
    assert module.__name__ == f"{retrievers.__name__}.{retriever.TYPE}"
    assert "parse" in vars(retriever)


@pytest.mark.parametrize("retriever", RETRIEVERS, ids=lambda each: each.TYPE)
def test_none_lacks_a_method(retriever: type[Retriever]) -> None:
    assert not inspect.isabstract(retriever)


@pytest.mark.parametrize("base", BASES, ids=lambda each: each.__name__)
def test_shared_modules_are_not_retrievers(base: type[Retriever]) -> None:
    assert inspect.isabstract(base)


def test_the_phases_know_no_retriever_by_name() -> None:
    """But the fast path in one round trip, for a reranker directly above a leaf, and what compares a reranker
    with its first stage.
    """
    own = {each.__name__ for each in RETRIEVERS}
    for file in sorted(SEARCH.rglob("*.py")):
        if FOLDER in file.parents:
            continue
        tested = {name for call in _type_tests(file) for name in _names(call)}
        is_about_one = file.name in ("single_search.py", "first_stage.py")
        expected = {"TextSimilarityReranker"} if is_about_one else set()
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
