"""The project has one version, which every place repeats; a release has what the changelog says of it."""

import re
import shutil
from pathlib import Path

import pytest

from deploy.release.version import CHANGELOG, ROOT, VersionError, check, current, main, notes, versions
from rerank_proxy import __version__
from tests.support.pages import read

SECTIONS = {"Upgrade notes", "Breaking", "Security", "Fixed", "Changed", "Deprecated", "Removed", "Added"}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What `set` reads and writes."""
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "proxy/rerank_proxy/__init__.py", CHANGELOG):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_every_place_has_the_same_version() -> None:
    found = versions()
    assert set(found.values()) == {__version__}
    assert {place.partition(":")[0] for place in found} >= {
        "pyproject.toml",
        "proxy/rerank_proxy/__init__.py",
        "deploy/helm/rerank-proxy/Chart.yaml",
        "deploy/kubernetes/sidecar.yaml",
        "deploy/kustomize/overlays/gateway/kustomization.yaml",
    }


def test_one_command_sets_it(copy: Path) -> None:
    places = len(versions(copy))
    main(["set", "12.3.4"], copy)
    assert list(versions(copy).values()) == ["12.3.4"] * places
    assert "## Unreleased" not in read(copy / CHANGELOG)
    check("v12.3.4", copy)
    assert notes("12.3.4", copy).count("\n- ") > 70


@pytest.mark.parametrize("tag", ["v99.0.0", current(), f"v{current()}"])
def test_a_tag_of_another_version_or_without_a_section_is_refused(copy: Path, tag: str) -> None:
    with pytest.raises(VersionError):
        check(tag, copy)


@pytest.mark.parametrize("version", ["1.2", "v1.2.3", "1.2.3rc1", "latest"])
def test_what_is_not_a_version_is_not_set(copy: Path, version: str) -> None:
    with pytest.raises(SystemExit, match=re.escape(f"{version} is not a version such as")):
        main(["set", version], copy)


def test_the_changelog_has_the_form_that_it_says() -> None:
    text = read(ROOT / CHANGELOG)
    headings = re.findall(r"^## (.*)", text, re.MULTILINE)
    assert headings[0] == "Unreleased" or headings[0].startswith(f"{current()} - ")
    assert all(re.fullmatch(r"Unreleased|\S+ - \d{4}-\d\d-\d\d", heading) for heading in headings)
    assert set(re.findall(r"^### (.*)", text, re.MULTILINE)) <= SECTIONS


def test_each_version_that_breaks_something_says_what_to_do() -> None:
    for section in re.split(r"^## ", read(ROOT / CHANGELOG), flags=re.MULTILINE)[1:]:
        assert ("### Breaking" in section) <= ("### Upgrade notes" in section), section[:40]
