"""The suite in lanes."""

import io
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests import lanes
from tests.support.project import ROOT

LANES = {
    "one": "def test_that_fails(): assert 'this' == 'that'\n",
    "two": "def test_that_passes(): pass\n",
}


def test_what_each_lane_says_is_shown_whole_and_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {name: tmp_path / f"test_{name}.py" for name in LANES}
    for name, file in files.items():
        file.write_text(LANES[name])
    monkeypatch.setattr(lanes, "LANES", {name: (str(file),) for name, file in files.items()})
    output = io.BytesIO()
    results = tmp_path / "results"

    assert lanes.run_lanes([f"--rootdir={tmp_path}"], output, results) == 1

    shown = output.getvalue().decode()
    assert "assert 'this' == 'that'" in shown
    assert shown.index("1 failed") < shown.index("1 passed") < shown.index("the slowest tests:\n")
    assert [line.partition(":")[0] for line in shown.splitlines()[-2:]] == ["one", "two"]
    for name, case in (("one", "test_that_fails"), ("two", "test_that_passes")):
        assert (results / f"{name}.log").read_text() in shown
        assert [each.get("name") for each in ET.parse(results / f"{name}.xml").iter("testcase")] == [case]


def test_the_slowest_tests_of_all_lanes_are_named(tmp_path: Path) -> None:
    cases: dict[str, list[tuple[str, str, float]]] = {
        "one": [("tests.unit.test_x", "test_quick", 0.1), ("tests.unit.test_x.TestIt", "test_it[a.b]", 8.25)],
        "two": [("tests.live.test_y", "test_slow", 20)],
    }
    for lane, rows in cases.items():
        suite = ET.Element("testsuite")
        for classname, name, seconds in rows:
            ET.SubElement(suite, "testcase", classname=classname, name=name, time=str(seconds))
        ET.ElementTree(suite).write(tmp_path / f"{lane}.xml")
    files = [tmp_path / f"{lane}.xml" for lane in ("one", "two", "that was killed")]
    assert lanes.slowest(files, most=2) == [
        (20, "tests/live/test_y.py::test_slow"),
        (8.25, "tests/unit/test_x.py::TestIt::test_it[a.b]"),
    ]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [([0, 0], 0), ([0, 1], 1), ([2, 1], 2), ([5, 0], 0), ([5, 5], 5), ([0, -9], -9), ([5, 1], 1)],
)
def test_the_status_of_the_whole(statuses: list[int], expected: int) -> None:
    """A lane in which nothing was selected (5) is no failure beside another."""
    assert lanes.whole(statuses) == expected


def test_every_test_is_in_one_lane_or_of_clients() -> None:
    for path in (ROOT / "tests").rglob("test_*.py"):
        file = str(path.relative_to(ROOT))
        if file.startswith("tests/clients/"):  # `make clients` runs them
            continue
        taken = [lane for lane in lanes.LANES.values() if any(file.startswith(place) for place in lane)]
        left_out = [lane for lane in taken if f"--ignore={file}" in lane]
        assert len(taken) - len(left_out) == 1, file


def test_naming_tests_is_for_pytest_alone() -> None:
    assert lanes.names_tests(["-x", "tests/unit/test_lanes.py::test_the_status_of_the_whole"])
    assert not lanes.names_tests(["-x", "-k", "name", "--es-version=9.5.0"])
