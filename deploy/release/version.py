"""The version of the project: where it is written, and what the changelog says of it.

    python -m deploy.release.version set 0.2.0    writes it everywhere, and dates the changelog
    python -m deploy.release.version check v0.2.0 fails if a place or the changelog has not a tag's version
    python -m deploy.release.version notes 0.2.0  prints what the changelog says

pyproject.toml has the version; the other places repeat it for those who read only them.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PLACES: Final[Mapping[str, Sequence[str]]] = {
    "pyproject.toml": [r'^version = "([^"]+)"'],
    "proxy/rerank_proxy/__init__.py": [r'^__version__ = "([^"]+)"'],
    "deploy/helm/rerank-proxy/Chart.yaml": [r'^version: "?([^"\s]+)"?', r'^appVersion: "?([^"\s]+)"?'],
}
"""Files, and how the lines begin that have the version."""

IMAGE: Final = r"(?:\brerank-proxy:|\bnewTag: )(\d+\.\d+\.\d+)"
"""How an example of a deployment names the image, with or without a suffix."""

CHANGELOG: Final = "CHANGELOG.md"
UNRELEASED: Final = "## Unreleased\n"
_VERSION: Final = re.compile(r"\d+\.\d+\.\d+")


class VersionError(Exception):
    """What is wrong with the versions, for people."""


def versions(root: Path = ROOT) -> dict[str, str]:
    """Return the version that each place has, by the file and how the line begins.

    Raises:
        VersionError: A file has no version where it should be.
    """
    found = {}
    for name, pattern in _places(root):
        match = re.search(pattern, (root / name).read_text(encoding="utf-8"), re.MULTILINE)
        if match is None:
            raise VersionError(f"{name} has no line like {pattern}")
        found[f"{name}: {match[0].split()[0].rstrip(':')}"] = match[1]
    return found


def _places(root: Path) -> Iterator[tuple[str, str]]:
    """Yield files and patterns: of the table, and of the examples that name the image."""
    for name, patterns in PLACES.items():
        yield from ((name, pattern) for pattern in patterns)
    for file in sorted((root / "deploy").rglob("*.y*ml")):
        if re.search(IMAGE, file.read_text(encoding="utf-8")):
            yield file.relative_to(root).as_posix(), IMAGE


def current(root: Path = ROOT) -> str:
    """Return the version of pyproject.toml."""
    return next(iter(versions(root).values()))


def notes(version: str, root: Path = ROOT) -> str:
    """Return what the changelog says of a version.

    Raises:
        VersionError: It has no section with the version and a day.
    """
    text = (root / CHANGELOG).read_text(encoding="utf-8")
    heading = rf"^## {re.escape(version)} - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |\Z)"
    match = re.search(heading, text, re.MULTILINE | re.DOTALL)
    if match is None or not match[1].strip():
        raise VersionError(f"{CHANGELOG} has no section `## {version} - YEAR-MONTH-DAY`")
    return match[1].strip() + "\n"


def check(tag: str, root: Path = ROOT) -> None:
    """Compare all places and the changelog with a tag.

    Raises:
        VersionError: They differ; with a line for each.
    """
    version = tag.removeprefix("v")
    wrong = [f"{place} is {found}" for place, found in versions(root).items() if found != version]
    if not tag.startswith("v") or wrong:
        raise VersionError("\n  ".join([f"the tag {tag} is not `v` and the version of all places:", *wrong]))
    notes(version, root)


def set_version(version: str, root: Path = ROOT) -> None:
    """Write a version everywhere, and give what is unreleased in the changelog the version and the day (UTC).

    Raises:
        VersionError: It is not a version, or nothing is unreleased.
    """
    if not _VERSION.fullmatch(version):
        raise VersionError(f"{version} is not a version such as 1.2.3")
    changes = (root / CHANGELOG).read_text(encoding="utf-8")
    if UNRELEASED not in changes:
        raise VersionError(f"{CHANGELOG} has no section `{UNRELEASED.strip()}`")
    versions(root)
    for name, pattern in list(_places(root)):
        text = (root / name).read_text(encoding="utf-8")
        written = re.sub(pattern, lambda match: match[0].replace(match[1], version), text, flags=re.MULTILINE)
        (root / name).write_text(written, encoding="utf-8")
    dated = f"## {version} - {datetime.now(UTC):%Y-%m-%d}\n"
    (root / CHANGELOG).write_text(changes.replace(UNRELEASED, dated, 1), encoding="utf-8")


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> None:
    """Run the command line; exit with 1 and a reason if something does not fit."""
    parser = argparse.ArgumentParser(prog="python -m deploy.release.version")
    parser.add_argument("do", choices=["set", "check", "notes"])
    parser.add_argument("version", help="a version; for `check` a tag, `v` and a version")
    given = parser.parse_args(arguments)
    try:
        if given.do == "set":
            set_version(given.version, root)
        elif given.do == "check":
            check(given.version, root)
        else:
            sys.stdout.write(notes(given.version, root))
    except VersionError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
