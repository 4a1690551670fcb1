"""What a release says of its repository, whose address the source does not know."""

import re
import shutil
import tomllib
from pathlib import Path
from typing import Final

import pytest

from deploy.release.distributions import export, name_repository, tracked
from rerank_proxy import __version__
from tests.support.pages import read
from tests.support.project import ROOT

REPOSITORY: Final = "https://git.example.org/search/rerank-proxy"


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """The files that change, with an address."""
    for name in ("pyproject.toml", "README.md", "deploy", "proxy/rerank_proxy/__init__.py"):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target)
    name_repository(tmp_path, f"{REPOSITORY}/")
    return tmp_path


def test_the_metadata_has_its_addresses(named: Path) -> None:
    urls = tomllib.loads(read(named / "pyproject.toml"))["project"]["urls"]
    assert urls["Source"] == REPOSITORY
    assert urls["Changelog"] == f"{REPOSITORY}/blob/v{__version__}/CHANGELOG.md"
    assert "urls" not in tomllib.loads(read(ROOT / "pyproject.toml"))["project"]


def test_every_link_of_the_page_leads_there(named: Path) -> None:
    """An index of packages shows the page without the other files; a picture has to come as it is."""
    before, after = (
        re.findall(r"(!\[[^\]]*)?\]\(([^)\s]+)\)", read(path / "README.md")) for path in (ROOT, named)
    )
    assert len(before) == len(after) > 20
    for (picture, old), (_, new) in zip(before, after, strict=True):
        kind = "raw" if picture else "blob"
        kept = re.match(r"[a-z]+:|#", old)
        assert new == (old if kept else f"{REPOSITORY}/{kind}/v{__version__}/{old}")


def test_what_git_ignores_is_not_exported(tmp_path: Path) -> None:
    """An unpacked distribution, which git does not know, is exported whole."""
    copy = export(tmp_path / "copy")
    (copy / "proxy" / "rerank_proxy.egg-info").mkdir()
    (copy / "proxy" / "rerank_proxy.egg-info" / "PKG-INFO").touch()
    (copy / "PKG-INFO").touch()
    assert tracked(copy) == tracked(ROOT)
    assert not [
        file for file in tracked(ROOT) if "__pycache__" in file or file.startswith((".venv", ".cache"))
    ]
