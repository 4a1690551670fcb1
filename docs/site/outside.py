"""What the site takes from outside of docs/: pages that belong to the project, and the files that pages link.

Pages are read in two places: in the repository, where a link to `../CONTRIBUTING.md` leads to the file, and
on the site, which holds nothing but itself. So the project's own pages become pages of the site, other
files that are linked are copied as texts, and the links are changed to lead there.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).resolve().parents[2]
TAKEN: Final = {
    "CHANGELOG.md": "changes.md",
    "CODE_OF_CONDUCT.md": "conduct.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
    "benchmarks/README.md": "benchmarks.md",
    "deploy/helm/rerank-proxy/README.md": "helm-chart.md",
    "examples/README.md": "examples.md",
    "examples/evaluation/README.md": "evaluating-films.md",
    "tests/clients/programs/README.md": "client-programs.md",
}
"""Pages of the project, and what they are called on the site."""

_ORIGINS: Final = {on_site: path for path, on_site in TAKEN.items()}
_FENCED: Final = re.compile(r"^( *)(```+)[^\n]*\n.*?^\1\2 *$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the project's own pages."""
    for path, on_site in TAKEN.items():
        files.append(File.generated(config, on_site, content=(ROOT / path).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Change the links of a page that lead out of docs/, or come from there; code stays as it is."""

    def changed(link: re.Match[str]) -> str:
        before, target, after = link.groups()
        if re.match(r"[a-z]+:", target):
            return link[0]
        on_site = _on_site(posixpath.normpath(posixpath.join(posixpath.dirname(origin), target)))
        if on_site is None:
            return link[0]  # mkdocs says what is wrong with it
        if on_site.startswith("sources/") and files.get_file_from_path(on_site) is None:
            source = ROOT / on_site.removeprefix("sources/").removesuffix(".txt")
            files.append(File.generated(config, on_site, content=source.read_text(encoding="utf-8")))
        return before + posixpath.relpath(on_site, posixpath.dirname(page.file.src_uri) or ".") + after

    origin = _ORIGINS.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    return "".join(text if code else _LINK.sub(changed, text) for code, text in _pieces(markdown))


def _on_site(path: str) -> str | None:
    """Return where a file of the project is on the site; None if there is none such."""
    if path in TAKEN:
        return TAKEN[path]
    if not (ROOT / path).is_file():
        return None
    return path.removeprefix("docs/") if path.startswith("docs/") else f"sources/{path}.txt"


def _pieces(markdown: str) -> Iterator[tuple[bool, str]]:
    """Divide a page into fenced code and what is between."""
    at = 0
    for block in _FENCED.finditer(markdown):
        yield False, markdown[at : block.start()]
        yield True, block[0]
        at = block.end()
    yield False, markdown[at:]
