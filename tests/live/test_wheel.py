"""The project as it is distributed and installed: all of it, and beside the package with the name `proxy`."""

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from zipfile import ZipFile

import pytest

from deploy.release.distributions import export, members, tracked
from rerank_proxy import __version__
from tests.clients.environments import packages
from tests.support.raw_http import TIMEOUT_S
from tests.support.wheels import build_source_distribution, build_wheel

PROXY_PY: Final = "proxy.py==2.4.10"
"""A well-known proxy server in Python. Its top-level package is `proxy`."""


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution."""
    source = export(tmp_path_factory.mktemp("source"))
    return build_source_distribution(source, tmp_path_factory.mktemp("distribution"))


@pytest.fixture(scope="module")
def wheel(distribution: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(distribution) as archive:
        archive.extractall(unpacked, filter="data")
    (source,) = unpacked.iterdir()
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


def test_everything_is_in_the_source_distribution(distribution: Path) -> None:
    """Tests, pages and examples too: a distribution that packages it can check it."""
    assert members(distribution) == tracked()


def test_the_package_and_nothing_else_is_in_the_wheel(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        (record,) = [name for name in archive.namelist() if name.endswith(".dist-info/RECORD")]
        recorded = [line.partition(",")[0] for line in archive.read(record).decode().splitlines()]
    metadata = f"rerank_proxy-{__version__}.dist-info/"
    package = [name for name in recorded if not name.startswith(metadata)]
    assert sorted(f"proxy/{name}" for name in package) == [each for each in tracked() if each[:6] == "proxy/"]
    assert "rerank_proxy/py.typed" in package


def test_both_packages_are_imported_side_by_side(site: Path) -> None:
    code = "import proxy, rerank_proxy; print(proxy.__file__, rerank_proxy.__file__)"
    found = output_of(site, sys.executable, "-c", code).split()
    assert found == [str(site / name / "__init__.py") for name in ("proxy", "rerank_proxy")]


def test_both_programs_run(site: Path) -> None:
    assert __version__ in output_of(site, site / "bin" / "rerank-proxy", "--version")
    assert "serve" in output_of(site, site / "bin" / "rerank-proxy", "--help")
    assert "rerank_proxy" not in output_of(site, sys.executable, site / "bin" / "proxy", "--help")
