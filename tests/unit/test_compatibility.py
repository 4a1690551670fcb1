"""docs/compatibility.md says what the tests of clients run."""

import re
from collections import Counter

from testbed.releases import RELEASES
from tests.clients.expected import RESULTS
from tests.clients.installed import PROGRAMS
from tests.clients.page import page
from tests.clients.table import AT_THE_PROXY, CLIENTS, STEPS, TOOLS
from tests.support.pages import defined_tests, read
from tests.support.permitted import BY_DESIGN, GROUPS, PERMITTED
from tests.support.project import ROOT


def test_the_page_is_made_of_the_tables() -> None:
    assert read(ROOT / "docs" / "compatibility.md") == page(), "run `make docs`"


def test_the_readme_states_which_versions_were_run() -> None:
    versions = " and ".join(release.version for release in RELEASES)
    assert f"It was run with Elasticsearch {versions}," in read(ROOT / "README.md")


def test_each_step_is_described_and_has_a_result() -> None:
    described = re.findall(r"^\| `([a-z ]+)` \|", read(PROGRAMS / "README.md"), re.MULTILINE)
    assert described == list(STEPS)
    assert RESULTS.keys() == STEPS.keys()
    assert STEPS.keys() >= AT_THE_PROXY


def test_clients_are_told_apart_and_leave_out_steps_that_there_are() -> None:
    assert max(Counter(map(str, CLIENTS)).values()) == 1
    for client in CLIENTS:
        assert client.lacks.keys() <= STEPS.keys()
        assert (PROGRAMS / client.folder).is_dir()
        assert set(client.servers) <= {int(release.version.partition(".")[0]) for release in RELEASES}


def test_differences_are_told_apart_and_of_versions_that_were_run() -> None:
    assert len(PERMITTED) == sum(len(group.differences) for group in GROUPS)
    majors = {release.major for release in RELEASES}
    for difference in PERMITTED.values():
        assert difference.direct
        assert difference.direct.keys() <= majors


def test_each_difference_is_shown_by_a_test() -> None:
    for difference in BY_DESIGN:
        path, _, name = difference.test.partition("::")
        assert name in defined_tests(ROOT / path), difference.test


def test_tools_have_programs_in_the_versions_that_are_installed() -> None:
    for tool in TOOLS:
        assert (PROGRAMS / tool.folder).is_dir() or (ROOT / tool.folder).is_file()
    (eland,) = (tool for tool in TOOLS if tool.package == "eland")
    assert f"\neland=={eland.version}\n" in "\n" + read(ROOT / "requirements" / "eland.txt")
