"""Dependencies between the parts of the proxy point one way, as docs/architecture.md says."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.project import ROOT

ABOVE = {
    "edge": {"app", "search", "inference", "engine", "trained_models"},
    "engine": {"app", "edge", "search", "inference", "trained_models"},
    "trained_models": {"app", "edge", "search"},
    "inference": {"app", "edge", "search", "trained_models"},
    "search": {"app", "edge", "trained_models"},
    "upstream": {"app", "edge", "search", "inference", "engine", "trained_models"},
    "chunks": {"app", "edge", "search", "inference", "engine", "trained_models"},
    "xcontent": {"app", "edge", "search", "inference", "engine", "trained_models"},
    "observe": {"app", "edge", "search", "inference", "engine", "trained_models"},
    "settings": {"app", "edge", "search", "inference", "engine", "trained_models"},
}
"""What each part knows nothing of."""


def _imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            yield node.module


@pytest.mark.parametrize("part", ABOVE)
def test_no_part_knows_what_is_above_it(part: str) -> None:
    files = sorted((ROOT / "proxy" / "rerank_proxy" / part).rglob("*.py"))
    assert files
    for file in files:
        known = {name.split(".")[1] for name in _imported(file) if name.startswith("rerank_proxy.")}
        assert not known & ABOVE[part], f"{file.relative_to(ROOT)} imports {known & ABOVE[part]}"


ENGINE_ROOMS = {
    "hangs": {"backends", "batching", "encoding", "loading"},
    "backends": {"batching", "encoding", "loading"},
    "encoding": {"backends", "batching", "loading"},
    "batching": {"encoding", "loading"},
    "loading": {"batching"},
}
"""The rooms of the engine, and what each knows nothing of."""

ENGINE_FOUNDATION = {"errors", "hangs", "metrics", "rows"}
"""The modules and rooms of the engine that its rooms may import besides."""


@pytest.mark.parametrize("room", ENGINE_ROOMS)
def test_rooms_of_the_engine_import_one_way(room: str) -> None:
    files = sorted((ROOT / "proxy" / "rerank_proxy" / "engine" / room).rglob("*.py"))
    assert files
    allowed = (ENGINE_ROOMS.keys() - ENGINE_ROOMS[room]) | ENGINE_FOUNDATION
    for file in files:
        known = {
            name.split(".")[2] for name in _imported(file) if name.startswith("rerank_proxy.engine.")
        } - {room}
        assert known <= allowed, f"{file.relative_to(ROOT)} imports {known - allowed}"
