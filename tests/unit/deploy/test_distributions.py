"""What a release says of its repository, whose address the source does not know."""

import re
import tomllib
from pathlib import Path
from typing import Final

import pytest
import yaml

from deploy.release.distributions import export, tracked
from deploy.release.repository import FOR_MAINTAINERS, PLACEHOLDER, name_repository
from rerank_proxy import __version__
from tests.support.pages import read
from tests.support.project import ROOT

REPOSITORY: Final = "https://git.example.org/Search/Rerank"


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with an address; a source distribution may have one already."""
    if "[project.urls]" in read(ROOT / "pyproject.toml"):
        pytest.skip("these files have an address")
    copy = export(tmp_path_factory.mktemp("named"))
    name_repository(copy, f"{REPOSITORY}/")
    return copy


def test_the_metadata_has_its_addresses(named: Path) -> None:
    urls = tomllib.loads(read(named / "pyproject.toml"))["project"]["urls"]
    assert urls["Source"] == REPOSITORY
    assert urls["Changelog"] == f"{REPOSITORY}/blob/v{__version__}/CHANGELOG.md"
    assert "urls" not in tomllib.loads(read(ROOT / "pyproject.toml"))["project"]


def test_every_link_of_the_page_leads_there(named: Path) -> None:
    """An index of packages shows the page without the other files; a picture has to come as it is."""
    before, after = (
        re.findall(r"(!\[[^\[\]]*)?\]\(([^)\s]+)\)", read(path / "README.md")) for path in (ROOT, named)
    )
    assert len(before) == len(after) > 20
    for (picture, old), (_, new) in zip(before, after, strict=True):
        kind = "raw" if picture else "blob"
        kept = re.match(r"[a-z]+:|#", old)
        assert new == (old if kept else f"{REPOSITORY}/{kind}/v{__version__}/{old}")


def test_no_placeholder_is_left(named: Path) -> None:
    files = [named / name for name in tracked(named)]
    left = [file for file in files if PLACEHOLDER.encode() in file.read_bytes()]
    outside = [named / name for name in (*FOR_MAINTAINERS, "tests")]
    assert [file for file in left if not any(map(file.is_relative_to, outside))] == []
    alerts = yaml.safe_load(read(named / "deploy" / "monitoring" / "alerts.yaml"))
    links = {
        rule["annotations"]["runbook_url"].partition("#")[0]
        for group in alerts["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    assert links == {f"{REPOSITORY}/blob/v{__version__}/docs/runbooks.md"}
    assert f"{REPOSITORY}/blob/v{__version__}/docs" in read(named / "deploy/monitoring/prometheusrule.yaml")


def test_the_chart_runs_the_image_of_the_repository(named: Path) -> None:
    """And its README says so; names of images are in lower case."""
    chart = named / "deploy" / "helm" / "rerank-proxy"
    assert yaml.safe_load(read(chart / "values.yaml"))["image"]["repository"] == "ghcr.io/search/rerank"
    assert '| `image.repository` | `"ghcr.io/search/rerank"` |' in read(chart / "README.md")
    assert "gh attestation verify oci://ghcr.io/search/rerank:" in read(named / "docs" / "image.md")


def test_a_second_time_changes_nothing(named: Path) -> None:
    before = {file: file.read_bytes() for file in (named / name for name in tracked(named))}
    name_repository(named, "https://git.example.org/another/one")
    assert {file: file.read_bytes() for file in before} == before


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
