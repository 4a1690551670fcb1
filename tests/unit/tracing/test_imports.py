"""Without a collector nothing of OpenTelemetry is imported."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.support.project import ROOT

PACKAGE: Final = ROOT / "proxy" / "rerank_proxy"
NEEDS_IT: Final = {"tracer", "trace", "exporting"}
"""The modules of `tracing` that import it."""


def at_import(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that take place when a module is imported: not those for type checkers or in functions."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test) != "TYPE_CHECKING":
            yield from at_import(node.body)


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in at_import(ast.parse(file.read_text(encoding="utf-8")).body):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        else:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


def test_no_other_module_imports_it() -> None:
    own = {PACKAGE / "tracing" / f"{name}.py" for name in NEEDS_IT}
    needing = {f"rerank_proxy.tracing.{name}" for name in NEEDS_IT}
    for file in PACKAGE.rglob("*.py"):
        names = imported(file)
        if file in own:
            assert any(name.startswith("opentelemetry") for name in names), file
        else:
            assert not {name for name in names if name.startswith("opentelemetry")} | (names & needing), file
