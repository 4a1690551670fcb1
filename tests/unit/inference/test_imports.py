"""Modules of inference import in no circle, and nothing for type checkers alone."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

from tests.support.pages import read
from tests.support.project import ROOT

PACKAGE = ROOT / "proxy" / "rerank_proxy"
FILES = [*sorted((PACKAGE / "inference").rglob("*.py")), PACKAGE / "services.py", PACKAGE / "backends.py"]


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(read(file))


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT / "proxy").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_by(file: Path) -> Iterator[str]:
    """Yield the modules that a file imports, and names in them, which may be modules as well."""
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{each.name}" for each in node.names)


def test_there_is_no_circle() -> None:
    known = {module_of(file) for file in FILES}
    graph = {module_of(file): set(imported_by(file)) & known for file in FILES}
    assert sum(map(len, graph.values())) > len(graph)
    tuple(TopologicalSorter(graph).static_order())


def test_what_is_imported_is_there_when_it_runs() -> None:
    for file in FILES:
        names = {node.id for node in ast.walk(tree_of(file)) if isinstance(node, ast.Name)}
        assert "TYPE_CHECKING" not in names, file
