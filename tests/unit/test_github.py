"""What GitHub and pre-commit read of this repository is of their form, and does no more than it has to."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.pages import read
from tests.support.project import ROOT

GITHUB: Final = ROOT / ".github"
WORKFLOWS: Final = sorted((GITHUB / "workflows").iterdir())
FORMS: Final = {
    "github-workflows": WORKFLOWS,
    "dependabot": [GITHUB / "dependabot.yml"],
    "github-issue-config": [GITHUB / "ISSUE_TEMPLATE" / "config.yml"],
    "github-issue-forms": sorted(
        file for file in (GITHUB / "ISSUE_TEMPLATE").iterdir() if file.name != "config.yml"
    ),
}
PINNED: Final = re.compile(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def loaded(file: Path) -> Any:
    return yaml.safe_load(read(file))


@pytest.mark.parametrize("form", FORMS)
def test_they_are_valid(form: str) -> None:
    """By the schemas that check-jsonschema brings along."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{form}"]
    checked = subprocess.run([*command, *FORMS[form]], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_each_file_is_checked() -> None:
    others = {GITHUB / "PULL_REQUEST_TEMPLATE.md"}
    files = {file for file in GITHUB.rglob("*") if file.is_file()}
    assert files == others.union(*FORMS.values())


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda file: file.name)
class TestWorkflows:
    def test_actions_are_pinned_to_commits(self, workflow: Path) -> None:
        for line in re.findall(r"uses: .*", read(workflow)):
            assert PINNED.fullmatch(line), line

    def test_what_is_not_asked_for_is_not_permitted(self, workflow: Path) -> None:
        assert loaded(workflow)["permissions"] == {"contents": "read"}

    def test_no_job_has_a_long_lived_secret_or_runs_for_ever(self, workflow: Path) -> None:
        assert "secrets." not in read(workflow)
        assert all("timeout-minutes" in job for job in loaded(workflow)["jobs"].values())

    def test_what_is_run_is_there(self, workflow: Path) -> None:
        steps = [step for job in loaded(workflow)["jobs"].values() for step in job["steps"]]
        for program, *arguments in (shlex.split(step["run"]) for step in steps if "run" in step):
            if program == "make":
                assert re.search(rf"^{arguments[0]}:", read(ROOT / "Makefile"), re.MULTILINE)
            elif "/" in program and not program.startswith(".venv/"):
                assert (ROOT / program).exists()


def test_what_is_published_was_built_and_attested_in_one_job() -> None:
    jobs = loaded(GITHUB / "workflows" / "release.yaml")["jobs"]
    building = [step.get("uses", "").partition("@")[0] or step["run"] for step in jobs["build"]["steps"]]
    assert building[-2:] == ["actions/attest-build-provenance", "actions/upload-artifact"]
    assert jobs["publish"]["needs"] == "build"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert all("run" not in step for step in jobs["publish"]["steps"])


def test_hooks_are_the_tools_of_the_environment() -> None:
    """So that no network is needed, and no other version tidies what `make lint` checks."""
    (local,) = loaded(ROOT / ".pre-commit-config.yaml")["repos"]
    assert local["repo"] == "local"
    for hook in local["hooks"]:
        program, option, module, *_ = hook["entry"].split()
        assert (hook["language"], program, option) == ("system", ".venv/bin/python", "-m")
        ran = subprocess.run(
            [sys.executable, "-m", module, "--version"], cwd=ROOT, capture_output=True, check=False
        )
        assert ran.returncode == 0, hook["id"]
