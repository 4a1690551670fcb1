"""The project's pages of Markdown, read for what tests say of them."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support.project import ROOT

_FOLDERS = (".", "docs", "benchmarks", "deploy/helm/rerank-proxy", "examples", "tests/clients/programs")
PAGES = sorted(page for folder in _FOLDERS for page in (ROOT / folder).glob("*.md"))

_TEST = re.compile(r"`(tests/[\w/]+\.py)::([\w:]+)`")


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def table_after(marker: str, page: Path) -> str:
    """Return the table that follows the comment `<!-- marker: … -->`."""
    match = re.search(rf"<!-- {marker}: .*? -->\n\n((?:\|.*\n)+)", read(page))
    assert match is not None
    return match[1]


def named_tests(text: str) -> Iterator[tuple[str, str]]:
    """Find the tests that a text names in code style: file, and function or `Class::method`."""
    yield from _TEST.findall(text)


@cache
def defined_tests(path: Path) -> frozenset[str]:
    """Return the test functions of a file, and methods as `Class::test`, as pytest names them."""
    if not path.exists():
        return frozenset()
    module = ast.parse(read(path)).body
    classes = [each for each in module if isinstance(each, ast.ClassDef)]
    scopes = [("", module), *((f"{each.name}::", each.body) for each in classes)]
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(
        prefix + each.name
        for prefix, body in scopes
        for each in body
        if isinstance(each, functions) and each.name.startswith("test_")
    )
