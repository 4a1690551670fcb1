"""The project as it is installed: its wheel, beside the package that has the name `proxy`."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from zipfile import ZipFile

import pytest

from rerank_proxy import __version__
from tests.clients.environments import packages
from tests.support.project import ROOT
from tests.support.raw_http import TIMEOUT_S
from tests.support.wheels import build_wheel

PROXY_PY: Final = "proxy.py==2.4.10"
"""A well-known proxy server in Python. Its top-level package is `proxy`."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(
        ROOT / "proxy", source / "proxy", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    return build_wheel(source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with both packages, as an environment has them."""
    site = tmp_path_factory.mktemp("site")
    uv = Path(sys.executable).with_name("uv")
    where = ("--python", sys.executable, "--target", site)
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--no-deps", *where, wheel], check=True, timeout=TIMEOUT_S
    )
    theirs = packages(PROXY_PY).made()
    assert not set(files(site)) & set(files(theirs))
    shutil.copytree(theirs, site, dirs_exist_ok=True)
    return site


def files(directory: Path) -> Iterator[Path]:
    """Files of packages, without those that uv itself leaves in the directory."""
    for path in directory.rglob("*"):
        if path.is_file() and path.parent != directory and "__pycache__" not in path.parts:
            yield path.relative_to(directory)


def output_of(site: Path, *command: str | Path) -> str:
    ran = subprocess.run(
        command,
        cwd=site.parent,
        env={**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_one_package_is_in_the_wheel(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        (record,) = [name for name in archive.namelist() if name.endswith(".dist-info/RECORD")]
        recorded = [line.partition(",")[0] for line in archive.read(record).decode().splitlines()]
    assert {name.partition("/")[0] for name in recorded} == {
        "rerank_proxy",
        f"rerank_proxy-{__version__}.dist-info",
    }
    assert "rerank_proxy/py.typed" in recorded


def test_both_packages_are_imported_side_by_side(site: Path) -> None:
    code = "import proxy, rerank_proxy; print(proxy.__file__, rerank_proxy.__file__)"
    found = output_of(site, sys.executable, "-c", code).split()
    assert found == [str(site / name / "__init__.py") for name in ("proxy", "rerank_proxy")]


def test_both_programs_run(site: Path) -> None:
    assert __version__ in output_of(site, site / "bin" / "rerank-proxy", "--version")
    assert "serve" in output_of(site, site / "bin" / "rerank-proxy", "--help")
    assert "rerank_proxy" not in output_of(site, site / "bin" / "proxy", "--help")
