"""How the benchmarks make figures out of single times."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from benchmarks.chart import Chart, picture
from benchmarks.cpu import children, cpu_ms
from benchmarks.peers.peak import Shape
from benchmarks.search import Figures


def figures(window: int, own: list[float]) -> Figures:
    direct = [7.0 + place for place in range(len(own))]
    proxied = [each + 0.5 + before for each, before in zip(own, direct, strict=True)]
    return Figures(window, direct, proxied, [0.5] * len(own), 0.25, None)


def test_own_time_is_compared_round_by_round() -> None:
    """The direct searches become slower all the time, and the proxy does not."""
    several = figures(100, [3.0, 1.0, 2.0, 9.0, 2.5])
    assert several.own() == pytest.approx(2.5)
    assert several.own(0.0) == pytest.approx(1.0)
    assert several.own(1.0) == pytest.approx(9.0)


def test_each_further_hit() -> None:
    assert figures(1000, [10.0]).per_hit_us(figures(100, [1.0])) == pytest.approx(10.0)


def test_a_row_says_what_is_not_known() -> None:
    assert figures(100, [2.0]).row(None).split() == [
        "100",
        "7.00",
        "9.50",
        "0.50",
        "2.00",
        "2.00",
        "0.25",
        "-",
    ]


@pytest.mark.skipif(cpu_ms(os.getpid()) is None, reason="this system does not tell")
def test_processor_time_grows_with_work() -> None:
    before = cpu_ms(os.getpid())
    assert before is not None
    while (now := cpu_ms(os.getpid())) is not None and now < before + 1:
        sum(range(10_000))
    assert now is not None


@pytest.mark.skipif(not os.path.exists(f"/proc/self/task/{os.getpid()}/children"), reason="as above")
def test_children_are_found() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in children(os.getpid())
        child.communicate(b"\n")
    assert child.pid not in children(os.getpid())


def test_of_no_process_nothing_is_known() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    assert cpu_ms(ended.pid) is None
    assert children(ended.pid) == []


def test_the_operations_of_an_encoder() -> None:
    shape = Shape(layers=6, hidden=384, intermediate=1536)
    linear = 6 * (4 * 384 * 384 + 2 * 384 * 1536)
    assert shape.flop([1]) == 2 * (linear + 6 * 2 * 384)
    assert shape.flop([100, 50]) == shape.flop([100]) + shape.flop([50])


def test_a_picture_has_a_line_and_a_legend_for_each_name() -> None:
    lines = {"engine": [(10, 50.0), (100, 60.0)], "a < b": [(10, 5.0), (100, 6.0)]}
    dashed = {**lines, "engine…": [(10, 70.0), (100, 80.0)]}
    drawn = ET.fromstring(picture([Chart("one", "x", lines), Chart("two", "x", dashed)], "a note"))
    parts = list(drawn.iter())
    texts = [part.text for part in parts if part.tag.endswith("}text")]
    assert texts.count("a < b") == 1
    assert texts.count("engine") == 1
    assert "a note" in texts
    styles = [part.get("style") or "" for part in parts if (part.get("clip-path") or "").startswith("url(")]
    assert sum("stroke-width: 2;" in style or style.endswith("stroke-width: 2") for style in styles) == 5
    assert sum("stroke-dasharray" in style for style in styles) == 1
