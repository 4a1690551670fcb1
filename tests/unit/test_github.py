"""What GitHub and pre-commit read of this repository is of their form, and does no more than it has to."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from ruamel.yaml import YAML

from tests.clients.environments import Environment, clean_environ, needs
from tests.support.pages import read
from tests.support.project import ROOT
from tests.support.schemas import faults

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
WRITES: Final = {
    ("release", "build"): {"id-token", "attestations"},
    ("release", "image"): {"packages", "id-token", "attestations"},
    ("release", "publish"): {"id-token"},
    ("release", "chart"): {"packages", "id-token", "attestations"},
    ("release", "site"): {"pages", "id-token", "attestations"},
    ("release", "announce"): {"contents"},
    ("image", "build"): {"packages", "id-token", "attestations"},
    ("image", "tag"): {"packages", "id-token", "attestations"},
    ("site", "build"): {"id-token", "attestations"},
    ("site", "deploy"): {"pages", "id-token"},
}
"""What a job may write, by workflow and job; all others nothing."""

ACTIONLINT: Final = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"


def loaded(file: Path) -> Any:
    return yaml.safe_load(read(file))


@pytest.mark.parametrize("form", FORMS)
def test_they_are_valid(form: str) -> None:
    """By the schemas that check-jsonschema brings along."""
    for file in FORMS[form]:
        # By YAML 1.2, in which `on` is not a truth value.
        assert not faults(YAML(typ="safe").load(file), form), file


def test_each_file_is_checked() -> None:
    others = {GITHUB / "PULL_REQUEST_TEMPLATE.md"}
    files = {file for file in GITHUB.rglob("*") if file.is_file()}
    assert files == others.union(*FORMS.values())


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda file: file.name)
class TestWorkflows:
    def test_actions_are_pinned_to_commits(self, workflow: Path) -> None:
        for line in re.findall(r"uses: .*", read(workflow)):
            local = line.removeprefix("uses: ./")
            assert PINNED.fullmatch(line) or (ROOT / local in WORKFLOWS), line

    def test_what_is_not_asked_for_is_not_permitted(self, workflow: Path) -> None:
        assert loaded(workflow)["permissions"] == {"contents": "read"}
        for name, job in loaded(workflow)["jobs"].items():
            given = job.get("permissions", {})
            writes = {scope for scope, right in given.items() if right == "write"}
            assert writes == WRITES.get((workflow.stem, name), set()), name

    def test_no_job_has_a_long_lived_secret_or_runs_for_ever(self, workflow: Path) -> None:
        assert "secrets." not in read(workflow)
        assert all("timeout-minutes" in job or "uses" in job for job in loaded(workflow)["jobs"].values())

    def test_what_is_run_is_there(self, workflow: Path) -> None:
        steps = [step for job in loaded(workflow)["jobs"].values() for step in job.get("steps", [])]
        scripts = [step["run"].replace("\\\n", " ") for step in steps if "run" in step]
        lines = [line.split() for script in scripts for line in script.splitlines()]
        for program, *arguments in filter(None, lines):
            if program == "make":
                assert re.search(rf"^{arguments[0]}:", read(ROOT / "Makefile"), re.MULTILINE)
            elif re.match(r"(\.ci|deploy|requirements)/", program):
                assert os.access(ROOT / program, os.X_OK), program
            elif program in ("python", "python3"):
                assert (ROOT / f"{arguments[1].replace('.', '/')}.py").exists()


def test_what_is_published_was_built_and_attested_in_one_job() -> None:
    jobs = loaded(GITHUB / "workflows" / "release.yaml")["jobs"]
    building = [step.get("uses", "").partition("@")[0] or step["run"] for step in jobs["build"]["steps"]]
    assert building.index('make smoke PYTHONS="3.11 3.12 3.13"') < len(building) - 2
    assert building[-2:] == ["actions/attest-build-provenance", "actions/upload-artifact"]
    assert "build" in jobs["publish"]["needs"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert all("run" not in step for step in jobs["publish"]["steps"])


def test_what_is_pushed_is_attested_by_its_digest() -> None:
    """Images of each kind, with their bills of materials, what is tagged, and the chart."""
    image, release = (loaded(GITHUB / "workflows" / f"{name}.yaml")["jobs"] for name in ("image", "release"))
    for job in (image["build"], image["tag"], release["chart"]):
        attested = [step for step in job["steps"] if step.get("uses", "").startswith("actions/attest@")]
        assert len(attested) == 1
        assert ".outputs.digest }}" in attested[0]["with"]["subject-digest"]
        assert attested[0]["with"]["push-to-registry"] is True
    assert "sbom-path: sbom/sbom.cdx.json" in read(GITHUB / "workflows" / "image.yaml")


def test_actionlint_has_nothing_against_the_workflows(pytestconfig: pytest.Config) -> None:
    """Expressions, contexts, permissions and runners, which the schema does not know."""

    def build(directory: Path) -> None:
        environ = {**clean_environ(), "GOBIN": str(directory), "GOFLAGS": "-modcacherw"}
        command = [needs("go"), "install", ACTIONLINT]
        subprocess.run(command, env=environ, check=True, capture_output=True)

    made = Environment("actionlint", ACTIONLINT, build)
    if not made.directory.is_dir() and not pytestconfig.getoption("long"):
        pytest.skip("actionlint is not in .cache, and building it takes 15 s of processor time: --long does")
    command = [str(made.made() / "actionlint"), "-shellcheck=", "-pyflakes=", *map(str, WORKFLOWS)]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_every_kind_of_dependency_is_looked_after() -> None:
    updates = {each["package-ecosystem"] for each in loaded(GITHUB / "dependabot.yml")["updates"]}
    assert updates == {"github-actions", "pip", "docker", "docker-compose"}


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
