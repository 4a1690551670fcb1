"""What the image is passed on with has licences that let it be, and they are passed on too."""

import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.release.licences import (
    EXCEPTIONS,
    PERMISSIVE,
    Package,
    expression,
    packages_of,
    refused,
    third_party,
)
from tests.support.pages import read
from tests.support.project import ROOT
from tests.support.raw_http import TIMEOUT_S

_EXTRAS: Final = re.search(r'^ARG EXTRAS="(.*)"', read(ROOT / "deploy" / "Dockerfile"), re.MULTILINE)
STRONG: Final = re.compile(r"\b(A?GPL|LGPL|EUPL|SSPL|CC-BY-NC|CC-BY-SA)")


def runtime() -> set[str]:
    """The names of the packages that the image has: of this environment, those that the project needs."""
    assert _EXTRAS is not None
    found: set[str] = set()
    ahead = [("rerank-proxy", frozenset(_EXTRAS[1].split()))]
    while ahead:
        name, extras = ahead.pop()
        for line in distribution(name).requires or ():
            needed = Requirement(line)
            wanted = needed.marker is None or any(
                needed.marker.evaluate({"extra": extra}) for extra in (*extras, "")
            )
            if wanted and canonicalize_name(needed.name) not in found:
                found.add(canonicalize_name(needed.name))
                ahead.append((needed.name, frozenset(needed.extras)))
    return found


@pytest.fixture(scope="module")
def packages() -> list[Package]:
    names = runtime()
    found = [each for each in packages_of(Path(sys.executable)) if canonicalize_name(each.name) in names]
    assert {canonicalize_name(each.name) for each in found} == names
    return found


def test_all_may_be_passed_on(packages: list[Package]) -> None:
    assert len(packages) > 40
    assert not refused(packages)


def test_no_copyleft_stronger_than_that_of_files_is_agreed_to() -> None:
    agreed = {*PERMISSIVE, *(licence for licence, _ in EXCEPTIONS.values())}
    assert not {licence for licence in agreed if STRONG.search(licence)}
    assert all(len(reason) > 20 for _, reason in EXCEPTIONS.values())


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("MIT License", True),
        ("MIT License\n\nCopyright (c) 2022 …\n\nPermission is hereby granted …", True),
        ("GNU GENERAL PUBLIC LICENSE\n\nMIT License", False),
        ("GPL-3.0-only", False),
        ("GPL-3.0-only OR MIT", True),
        ("GPL-3.0-only AND MIT", False),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("(MIT OR GPL-2.0-only) AND BSD-3-Clause", True),
        ("Apache Software License; MIT License", True),
        ("GNU General Public License v3 (GPLv3); MIT License", False),
        ("MPL-2.0 AND MIT", False),
        ("UNKNOWN", False),
        ("", False),
        ("as you like it (", False),
    ],
)
def test_a_licence_is_allowed_by_all_that_it_says(licence: str, allowed: bool) -> None:
    package = Package("example", "1.0", expression(licence), "", {})
    assert (not refused([package])) is allowed


def test_exceptions_are_for_one_package_and_one_licence() -> None:
    def is_refused(name: str, licence: str) -> bool:
        return bool(refused([Package(name, "1.0", licence, "", {})]))

    assert not is_refused("tqdm", "MPL-2.0 AND MIT")
    assert is_refused("tqdm", "GPL-3.0-only")
    assert not is_refused("nvidia-cublas", "LicenseRef-NVIDIA-Proprietary")
    assert is_refused("nvidia", "LicenseRef-NVIDIA-Proprietary")
    assert is_refused("other-cublas", "LicenseRef-NVIDIA-Proprietary")


def test_every_text_is_on_the_page(packages: list[Package]) -> None:
    page = third_party(packages)
    for package in packages:
        assert f"\n{package.name} {package.version}: {package.licence}\n" in page
        assert all(text in page for text in package.texts.values())
    (torch,) = [package for package in packages if package.name == "torch"]
    assert len(torch.texts) > 10, "what it has bundled is passed on, too"


def test_the_bill_of_materials_is_of_the_environment(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    if not pytestconfig.getoption("long"):
        pytest.skip("takes many seconds: --long runs it, and so does every build of an image")
    command = [sys.executable, "-m", "deploy.release.licences", "--python", sys.executable, str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=False, timeout=TIMEOUT_S)
    assert '"bomFormat": "CycloneDX"' in read(tmp_path / "sbom.cdx.json")
    assert '"name": "aiohttp"' in read(tmp_path / "sbom.cdx.json")
