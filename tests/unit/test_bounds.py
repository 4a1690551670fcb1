"""The table of what is bounded, in docs/security.md, says what the settings and the code say."""

import importlib
import re

import pytest

from rerank_proxy.settings import load
from tests.support.pages import read
from tests.support.project import ROOT

UNITS = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def rows() -> list[tuple[str, str, str]]:
    """Return what each row bounds, how far, and what sets it."""
    page = read(ROOT / "docs" / "security.md")
    table = page.partition("<!-- bounds:")[2].partition("\n\n|")[2].partition("\n\n")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return [(what, limit, setter.strip("`")) for what, limit, setter, _ in cells]


def value_of(setter: str) -> object:
    """Return the default of a setting, or the value of a constant of the package."""
    constant = re.fullmatch(r"([A-Z_]+)` in `([a-z_/]+)\.py", setter)
    if constant is not None:
        module = constant[2].replace("/", ".")
        return getattr(importlib.import_module(f"rerank_proxy.{module}"), constant[1])
    section, name = setter.split(".")
    return getattr(getattr(load(environ={}), section), name)


def number(limit: str) -> float | None:
    match = re.fullmatch(r"([0-9.,]+) ?(KiB|MiB|GiB|)", limit)
    return None if match is None else float(match[1].replace(",", "")) * UNITS[match[2]]


@pytest.mark.parametrize(("what", "limit", "setter"), rows(), ids=lambda text: text)
def test_limits_are_those_of_the_code(what: str, limit: str, setter: str) -> None:
    expected = number(limit)
    if expected is None:
        assert (setter, value_of(setter)) == ("search.max_rank_window_size", 0)
    else:
        assert value_of(setter) == expected, what


def test_the_table_is_read() -> None:
    assert len(rows()) > 30
