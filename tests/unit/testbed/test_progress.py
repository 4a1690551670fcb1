"""Progress on a terminal and elsewhere."""

import io
import re

import pytest
from rich.console import Console

from testbed.progress import Reporter


def _said(reporter: Reporter) -> str:
    stream = reporter.console.file
    assert isinstance(stream, io.StringIO)
    return stream.getvalue()


def _reporter(*, terminal: bool) -> Reporter:
    return Reporter(Console(file=io.StringIO(), force_terminal=terminal, width=100))


def test_off_a_terminal_each_step_has_two_lines() -> None:
    reporter = _reporter(terminal=False)
    with reporter.step("Getting [it]") as step:
        step.update(10, 100)
        step.tick()
    assert re.fullmatch(r"Getting \[it\] …\n✓ Getting \[it\] \(\d+\.\d s\)\n", _said(reporter))


def test_what_takes_long_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    reporter = _reporter(terminal=False)
    with reporter.step("Getting it") as step:
        for now_s in (1e9, 1e9 + 1, 1e9 + 20):
            monkeypatch.setattr("testbed.progress.monotonic", lambda now_s=now_s: now_s)
            step.update(50_000_000, 100_000_000)
        monkeypatch.undo()
    middle = _said(reporter).splitlines()[1:-1]
    assert len(middle) == 2
    assert all(re.fullmatch(r"  Getting it: 50 %, 50 MB, \d+ s", line) for line in middle)


def test_a_step_that_fails_is_not_ticked_off() -> None:
    reporter = _reporter(terminal=False)
    with pytest.raises(RuntimeError), reporter.step("Getting it"):
        raise RuntimeError
    assert _said(reporter) == "Getting it …\n"


def test_on_a_terminal_a_bar_counts_bytes() -> None:
    reporter = _reporter(terminal=True)
    with reporter.step("Getting it") as step:
        step.update(50_000_000, 100_000_000)
    assert "50.0/100.0 MB" in _said(reporter)
