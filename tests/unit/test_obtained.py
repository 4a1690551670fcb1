"""What cannot be had is skipped on a developer's machine, and missed where changes are checked."""

import re
from typing import Final

import pytest

from tests.support.obtained import VARIABLE, cannot_be_had
from tests.support.project import ROOT

SKIPS_FOR_A_FAULT: Final = re.compile(r"pytest\.skip\(str\(\w+\)\)")
"""What was to be obtained has failed, and says why."""


@pytest.mark.parametrize("value", [None, "", "0", "false"])
def test_it_is_skipped(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(pytest.skip.Exception, match="no promtool: install it"):
        cannot_be_had("no promtool: install it")


@pytest.mark.parametrize("value", ["true", "1", "woodpecker"])
def test_it_fails_where_changes_are_checked(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(pytest.fail.Exception, match=r"no promtool: install it .*CI is set"):
        cannot_be_had("no promtool: install it")


def test_no_test_has_a_rule_of_its_own() -> None:
    files = (ROOT / "tests").rglob("*.py")
    assert [each for each in files if SKIPS_FOR_A_FAULT.search(each.read_text(encoding="utf-8"))] == []
