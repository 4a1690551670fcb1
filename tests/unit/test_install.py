"""Which build of PyTorch `requirements/install.sh` takes. A stand-in for uv writes down how it was called."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.project import ROOT

UV = """#!/bin/sh
echo "${{UV_TORCH_BACKEND:-default}} $*" >> calls
case "$*" in
    *--dry-run*) exit {status} ;;
esac
"""
FALLBACK = "taking that of the default index"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to(sys.executable)
    return tmp_path


def install(project: Path, *, reachable: bool, **environment: str) -> tuple[list[str], str]:
    """Return the calls of uv, and what was said."""
    uv = project / ".venv" / "bin" / "uv"
    uv.write_text(UV.format(status=0 if reachable else 2))
    uv.chmod(0o755)
    inherited = {name: value for name, value in os.environ.items() if name != "UV_TORCH_BACKEND"}
    done = subprocess.run(
        ["requirements/install.sh", "demo"],
        cwd=project,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    calls = (project / "calls").read_text().splitlines()
    return [call for call in calls if "pip install" in call], done.stdout


def test_uv_chooses_it_for_the_machine(project: Path) -> None:
    (tried, installed), said = install(project, reachable=True)
    assert tried.startswith("auto ")
    assert tried.endswith("--reinstall-package torch torch"), "one that is there already asks no index"
    assert installed.startswith("auto ")
    assert FALLBACK not in said


def test_the_default_index_has_it_where_that_build_cannot_be_had(project: Path) -> None:
    (tried, installed), said = install(project, reachable=False)
    assert tried.startswith("auto ")
    assert installed.startswith("default ")
    (line,) = [line for line in said.splitlines() if FALLBACK in line]
    assert "cannot be reached" in line


def test_what_the_environment_names_is_not_tried_first(project: Path) -> None:
    (installed,), said = install(project, reachable=False, UV_TORCH_BACKEND="cu132")
    assert installed.startswith("cu132 ")
    assert FALLBACK not in said
