"""Dependencies between the parts of the proxy point one way, as docs/architecture.md says."""

import ast
import re
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Final

import pytest

from tests.support.pages import table_after
from tests.support.project import ROOT

SOURCES: Final = ROOT / "proxy"
SCORES: Final = {"search", "services", "inference", "engine", "trained_models"}


def unknown() -> dict[str, set[str]]:
    """What each room knows nothing of, by the table of the page: those below it, and those that it names."""
    table = table_after("rooms", ROOT / "docs" / "architecture.md")
    rows = re.findall(r"^\| (`.+?) \| .* \|(.*)\|$", table, re.MULTILINE)
    rooms = [re.findall(r"`(\w+)/`", names) for names, _ in rows]
    return {
        room: {below for later in rooms[place + 1 :] for below in later}
        | set(re.findall(r"`(\w+)`", but.partition("but not")[2]))
        for place, (_, but) in enumerate(rows)
        for room in rooms[place]
    }


UNKNOWN: Final = unknown()

ENGINE_ROOMS: Final = {
    "hangs": {"backends", "batching", "encoding", "loading", "shared_cache"},
    "backends": {"batching", "encoding", "loading", "shared_cache"},
    "encoding": {"backends", "batching", "loading", "shared_cache"},
    "batching": {"encoding", "loading", "shared_cache"},
    "loading": {"batching", "shared_cache"},
    "shared_cache": {"backends", "batching", "encoding", "hangs", "loading"},
}
"""The rooms of the engine, and what each knows nothing of."""

ENGINE_FOUNDATION: Final = {"errors", "hangs", "metrics", "rows"}
"""The modules and rooms of the engine that its rooms may import besides."""

Graph = Mapping[str, Set[str]]


def modules() -> dict[str, Path]:
    """Every module of the proxy by its name."""
    files = sorted((SOURCES / "rerank_proxy").rglob("*.py"))
    names = (".".join(file.relative_to(SOURCES).with_suffix("").parts) for file in files)
    return {name.removesuffix(".__init__"): file for name, file in zip(names, files, strict=True)}


MODULES: Final = modules()


def imported(source: str) -> Iterator[str]:
    """The modules of the proxy that one imports, wherever: within functions and for type checkers, too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in inner]
        else:
            continue
        yield from (name for name in names if name in MODULES)


GRAPH: Final = {
    name: {*imported(file.read_text(encoding="utf-8"))} - {name} for name, file in MODULES.items()
}


def reached(graph: Graph, start: str) -> set[str]:
    """The modules that one imports by any number of steps."""
    found: set[str] = set()
    ahead = {*graph[start]}
    while ahead:
        found |= ahead
        ahead = {name for each in ahead for name in graph[each]} - found
    return found


def circles(graph: Graph) -> set[frozenset[str]]:
    """The largest sets of modules that all import one another, by any number of steps."""
    by_any = {name: reached(graph, name) for name in graph}
    return {
        frozenset(other for other in by_any[name] if name in by_any[other])
        for name in graph
        if name in by_any[name]
    }


def part_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_every_room_has_a_row() -> None:
    assert UNKNOWN.keys() == {part_of(name) for name in MODULES if name.count(".") > 1}


@pytest.mark.parametrize("room", UNKNOWN)
def test_no_room_knows_what_the_table_forbids(room: str) -> None:
    found = {name: each for name, each in GRAPH.items() if part_of(name) == room}
    assert found
    for name, others in found.items():
        forbidden = {other for other in others if part_of(other) in UNKNOWN[room]}
        assert not forbidden, f"{name} imports {forbidden}"


def test_there_is_no_circle() -> None:
    assert not circles(GRAPH)


@pytest.mark.parametrize("start", ["rerank_proxy.edge.server", "rerank_proxy.processes.supervisor"])
def test_what_relays_never_loads_what_knows_of_scores(start: str) -> None:
    """Not by any number of steps: plain traffic does not depend on it."""
    assert not {name for name in reached(GRAPH, start) if part_of(name) in SCORES | {"app"}}


@pytest.mark.parametrize(
    "source",
    [
        "from rerank_proxy.edge import server",
        "import rerank_proxy.edge.server",
        "from rerank_proxy.edge.server import Edge",
        "if TYPE_CHECKING:\n    from rerank_proxy.edge.server import Edge",
        "def later():\n    from rerank_proxy.edge.server import Edge",
    ],
)
def test_every_import_counts(source: str) -> None:
    assert {*imported(source)} == {"rerank_proxy.edge.server"}


def test_circles_are_found() -> None:
    graph: Graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"a"}}
    assert circles(graph) == {frozenset({"b", "c"})}


@pytest.mark.parametrize("room", ENGINE_ROOMS)
def test_rooms_of_the_engine_import_one_way(room: str) -> None:
    start = f"rerank_proxy.engine.{room}"
    found = {name: each for name, each in GRAPH.items() if name.startswith(start)}
    assert found
    allowed = (ENGINE_ROOMS.keys() - ENGINE_ROOMS[room]) | ENGINE_FOUNDATION | {room}
    for name, others in found.items():
        known = {each.split(".")[2] for each in others if each.startswith("rerank_proxy.engine.")}
        assert known <= allowed, f"{name} imports {known - allowed}"
