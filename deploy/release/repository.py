"""Write the address of the repository into a copy of the project.

    python -m deploy.release.repository https://github.com/Owner/Name [DIRECTORY]

The source does not know where its repository is, as forks have others: `OWNER/REPOSITORY` stands for it in
documents and in the alerts, and the chart names an image without a registry. What is published says where
it comes from: the metadata of the distributions, the links of their page, which an index of packages shows
without the other files, the links of alerts to their runbooks, and the images.
"""

import argparse
import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from deploy.release.version import ROOT, current

PLACEHOLDER: Final = "OWNER/REPOSITORY"
NAMED_IN: Final = ("README.md", "deploy", "docs")
"""Files and directories that are for users."""
FOR_MAINTAINERS: Final = ("docs/releasing.md", "deploy/release", "deploy/made_files.py")
"""What speaks of the placeholder itself, or makes files with it."""

URLS: Final = """
[project.urls]
Homepage = "{repository}"
Documentation = "{repository}/tree/v{version}/docs"
Changelog = "{repository}/blob/v{version}/CHANGELOG.md"
Issues = "{repository}/issues"
Source = "{repository}"
"""
_LINK: Final = re.compile(r"\]\((?![a-z]+:|#)([^)\s]+)\)")
_PICTURE: Final = re.compile(r"(!\[[^\]]*)\]\((?![a-z]+:)([^)\s]+)\)")
_IMAGE: Final = {
    "values.yaml": (r"^  repository: rerank-proxy$", "  repository: {image}"),
    "README.md": (r'^\| `image\.repository` \| `"rerank-proxy"`', '| `image.repository` | `"{image}"`'),
}
"""By file of the chart, the line with the image that it runs by default."""


def name_repository(source: Path, repository: str) -> None:
    """Write an address into a copy of the project; where there is one already, nothing changes.

    Args:
        repository: The URL of its page.
    """
    repository, version = repository.rstrip("/"), current(source)
    _name_in_metadata(source, repository, version)
    path = urlsplit(repository).path.strip("/")
    image = f"ghcr.io/{path.lower()}"
    for file in _files(source):
        text = file.read_text(encoding="utf-8")
        named = text.replace(f"https://github.com/{PLACEHOLDER}/blob/main", f"{repository}/blob/v{version}")
        named = named.replace(f"https://github.com/{PLACEHOLDER}", repository)
        named = named.replace(f"ghcr.io/{PLACEHOLDER}", image).replace(PLACEHOLDER, path)
        if named != text:
            file.write_text(named, encoding="utf-8")
    for name, (line, instead) in _IMAGE.items():
        file = source / "deploy" / "helm" / "rerank-proxy" / name
        text = file.read_text(encoding="utf-8")
        file.write_text(re.sub(line, instead.format(image=image), text, flags=re.MULTILINE), encoding="utf-8")


def _name_in_metadata(source: Path, repository: str, version: str) -> None:
    project, page = source / "pyproject.toml", source / "README.md"
    text = project.read_text(encoding="utf-8")
    if "\n[project.urls]\n" not in text:
        project.write_text(text + URLS.format(repository=repository, version=version), encoding="utf-8")
    shown = _PICTURE.sub(rf"\1]({repository}/raw/v{version}/\2)", page.read_text(encoding="utf-8"))
    page.write_text(_LINK.sub(rf"]({repository}/blob/v{version}/\1)", shown), encoding="utf-8")


def _files(source: Path) -> list[Path]:
    """Return the texts that may have the placeholder; a link within the project is its target's business."""
    found: list[Path] = []
    for name in NAMED_IN:
        here = source / name
        found += [here] if here.is_file() else sorted(here.rglob("*"))
    kinds = {".md", ".yaml", ".yml", ".json", ".py", ".sh"}
    skipped = [source / name for name in FOR_MAINTAINERS]
    return [
        file
        for file in found
        if file.suffix in kinds
        and file.is_file()
        and not file.is_symlink()
        and not any(file.is_relative_to(each) for each in skipped)
    ]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.release.repository")
    parser.add_argument("repository", help="The address of the repository's page.")
    parser.add_argument("directory", nargs="?", type=Path, default=ROOT, help="The copy to write into.")
    given = parser.parse_args()
    name_repository(given.directory, given.repository)


if __name__ == "__main__":
    main()
