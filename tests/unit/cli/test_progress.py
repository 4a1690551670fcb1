"""Progress where there is no terminal: a line for each part of the work, however many steps it has."""

import pytest

from rerank_proxy.cli.progress import Bars
from rerank_proxy.relevance.progress import steps


def test_each_part_gets_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars() as progress:
        step = steps(progress, "searching", 3)
        for _ in range(3):
            step()
        progress("scores of \x1b[31mlarge", 1, 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["searching: 3 …", "scores of \\x1b[31mlarge: 2 …"]


def test_steps_are_counted_from_the_beginning() -> None:
    told: list[tuple[str, int, int]] = []
    step = steps(lambda *what: told.append(what), "timing", 2)
    step()
    step()
    assert told == [("timing", 0, 2), ("timing", 1, 2), ("timing", 2, 2)]
