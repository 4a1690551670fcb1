"""List what an installed environment consists of: a bill of materials, and the licences with their texts.

    python -m deploy.release.licences --python PYTHON DIRECTORY

writes `sbom.cdx.json` (CycloneDX) and `THIRD-PARTY.txt` there, and fails if a licence is not one that the
project has agreed to pass on. The image's build runs it, so each image describes itself, whatever it was
built with.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final

from license_expression import AND, OR, ExpressionError, LicenseExpression, Licensing

PERMISSIVE: Final = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC0-1.0",
        "CNRI-Python",
        "HPND",
        "ISC",
        "MIT",
        "MIT-0",
        "MIT-CMU",
        "PSF-2.0",
        "Python-2.0",
        "Unlicense",
        "Zlib",
    }
)
"""Ask for no more than that their text, or a notice, is passed on; it is, in `THIRD-PARTY.txt`."""

EXCEPTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "certifi": (
        "MPL-2.0",
        "covers a list of authorities, which is passed on unchanged; its source is in the package",
    ),
    "tqdm": (
        "MPL-2.0",
        "covers its own files, which are passed on unchanged; their source is in the package",
    ),
    "cuda-toolkit": (
        "LicenseRef-NVIDIA-Proprietary",
        "only in the CUDA build; holds no files, and requires the packages nvidia-…",
    ),
    "nvidia-*": (
        "LicenseRef-NVIDIA-Proprietary",
        "only in the CUDA build; NVIDIA's terms let its run-time libraries be passed on with an application",
    ),
}
"""Packages, or beginnings of names, with a licence that is not permissive, and why it may be passed on."""

SPDX: Final = {
    "": "LicenseRef-unknown",
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0 License": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "BSD": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "NVIDIA Proprietary Software": "LicenseRef-NVIDIA-Proprietary",
    "Python Software Foundation License": "PSF-2.0",
    "UNKNOWN": "LicenseRef-unknown",
}
"""How packages without an SPDX expression name their licences, in classifiers or in words."""

WITHOUT_METADATA: Final = {"cuda-toolkit": "LicenseRef-NVIDIA-Proprietary"}
"""The licences of packages that do not name theirs."""

_PROJECT: Final = "rerank-proxy"
_UNKNOWN: Final = "UNKNOWN"
_TEXT: Final = re.compile(r"^licen[cs]es/|^(licen[cs]e|copying|notice)", re.IGNORECASE)
_RULE: Final = "=" * 100


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package.

    Attributes:
        licence: Its licence as an SPDX expression, or as it says it.
        texts: The licences and notices of it and of what it contains, by the names of the files.
    """

    name: str
    version: str
    licence: str
    url: str
    texts: Mapping[str, str]


def packages_of(python: Path) -> list[Package]:
    """Return the packages that an interpreter's environment has, without the project's own, by name.

    Raises:
        subprocess.CalledProcessError: pip-licenses cannot read the environment.
    """
    options = ["--format=json", "--from=mixed", "--with-urls", "--with-system", "--with-license-file"]
    listed = json.loads(_output(sys.executable, "-m", "piplicenses", "--python", str(python), *options))
    site = _output(str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    texts = {each.name.lower(): _texts(each) for each in distributions(path=[site])}
    found = [
        _package(each, texts.get(each["Name"].lower(), {}))
        for each in listed
        if each["Name"].lower() != _PROJECT
    ]
    return sorted(found, key=lambda package: package.name.lower())


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _package(listed: Mapping[str, str], texts: Mapping[str, str]) -> Package:
    name, url = listed["Name"], listed["URL"]
    licence = WITHOUT_METADATA.get(name.lower()) or expression(listed["License"])
    text, file = listed["LicenseText"], Path(listed["LicenseFile"]).name
    elsewhere = {} if text == _UNKNOWN else {file: text.strip()}
    return Package(name, listed["Version"], licence, "" if url == _UNKNOWN else url, texts or elsewhere)


def _texts(distribution: Distribution) -> dict[str, str]:
    """Return what lies in a distribution's metadata: also that for what a wheel has bundled."""
    files = [
        file
        for file in distribution.files or ()
        if file.parts[0].endswith(".dist-info") and _TEXT.search("/".join(file.parts[1:]))
    ]
    return {
        "/".join(file.parts[1:]): Path(str(file.locate()))
        .read_text(encoding="utf-8", errors="replace")
        .strip()
        for file in files
    }


def expression(licence: str) -> str:
    """Return a licence as an SPDX expression; of several classifiers all apply, and a text has a title."""
    licence = licence.strip().partition("\n")[0]
    if licence in SPDX:
        return SPDX[licence]
    return " AND ".join(SPDX.get(each.strip(), each.strip()) for each in licence.split(";"))


def refused(packages: Iterable[Package]) -> list[str]:
    """Return what is wrong with the licences, a line for each package that may not be passed on."""
    return [
        f"{package.name} {package.version}: {package.licence}"
        for package in packages
        if not _allowed(package.licence, PERMISSIVE | _exceptions(package.name))
    ]


def _exceptions(name: str) -> set[str]:
    return {licence for pattern, (licence, _) in EXCEPTIONS.items() if fnmatch(name.lower(), pattern)}


def _allowed(licence: str, allowed: set[str] | frozenset[str]) -> bool:
    """Tell whether an expression can be kept by licences that are allowed: one of `OR`, all of `AND`."""
    try:
        parsed = Licensing().parse(licence)
    except ExpressionError:
        return False
    return parsed is not None and _holds(parsed, allowed)


def _holds(parsed: LicenseExpression, allowed: set[str] | frozenset[str]) -> bool:
    if isinstance(parsed, OR):
        return any(_holds(each, allowed) for each in parsed.args)
    if isinstance(parsed, AND):
        return all(_holds(each, allowed) for each in parsed.args)
    return str(parsed) in allowed


def third_party(packages: Sequence[Package]) -> str:
    """Return the page with every package, its licence, and the texts of licences and notices."""
    head = [
        "Software of others that rerank-proxy is passed on with, and its licences.",
        "",
        *(f"{package.name} {package.version}: {package.licence}" for package in packages),
    ]
    parts = ["\n".join(head)]
    for package in packages:
        title = f"{package.name} {package.version}\n{package.licence}\n{package.url}".rstrip()
        body = [f"--- {file}\n\n{text}" for file, text in sorted(package.texts.items())]
        parts.append("\n\n".join([f"{_RULE}\n{title}", *(body or ["(The package comes without a text.)"])]))
    return "\n\n".join(parts) + "\n"


def write_bill(python: Path, file: Path) -> None:
    """Write the CycloneDX bill of materials of an interpreter's environment, checked by its schema.

    Raises:
        subprocess.CalledProcessError: The environment cannot be read.
    """
    options = ["--output-reproducible", "--output-format", "JSON", "--output-file", str(file)]
    subprocess.run([sys.executable, "-m", "cyclonedx_py", "environment", *options, str(python)], check=True)


def main() -> None:
    """Write both files, and exit with 1 if a licence is refused."""
    parser = argparse.ArgumentParser(prog="python -m deploy.release.licences")
    parser.add_argument("--python", type=Path, required=True, help="The interpreter of the environment.")
    parser.add_argument("directory", type=Path, help="Where the files are written.")
    given = parser.parse_args()
    given.directory.mkdir(parents=True, exist_ok=True)
    packages = packages_of(given.python)
    (given.directory / "THIRD-PARTY.txt").write_text(third_party(packages), encoding="utf-8")
    write_bill(given.python, given.directory / "sbom.cdx.json")
    problems = refused(packages)
    if problems:
        lines = "\n  ".join(problems)
        sys.exit(f"not a licence that is passed on, see deploy/release/licences.py:\n  {lines}")
    print(f"{len(packages)} packages, with licences that may be passed on: {given.directory}")


if __name__ == "__main__":
    main()
