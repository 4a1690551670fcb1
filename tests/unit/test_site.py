"""The site of the documentation: complete, whole without a network, and what the repository shows."""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt

from tests.support.pages import read
from tests.support.project import ROOT

DOCS: Final = ROOT / "docs"
ELSEWHERE: Final = re.compile(r"(?:https?:)?//|data:")
COUNTED: Final = ("table", "tr", "li", "pre", "h2", "h3", "img")
"""Elements that a page has as often in the repository as on the site."""


@dataclass
class Seen(HTMLParser):
    """A page of the site: what it loads and links, its anchors, and the elements of its text."""

    loaded: list[str] = field(default_factory=list)
    linked: list[str] = field(default_factory=list)
    navigation: set[str] = field(default_factory=set)
    anchors: set[str] = field(default_factory=set)
    silent_pictures: int = 0
    elements: Counter[str] = field(default_factory=Counter)
    within: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors.update(values[name] for name in ("id", "name") if name in values)
        if tag in ("article", "nav"):
            self.within[tag] += 1
        if tag == "link":
            self.loaded.append(values["href"])
        elif "src" in values:
            self.loaded.append(values["src"])
        if tag == "a" and "href" in values:
            self.linked.append(values["href"])
            if self.within["nav"]:
                self.navigation.add(urlsplit(values["href"]).path)
        if self.within["article"]:
            self.elements[tag] += 1
            self.silent_pictures += tag == "img" and not values.get("alt")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("article", "nav"):
            self.within[tag] -= 1


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the site as `make site` does. Its warnings, such as links that lead nowhere, are errors."""
    directory = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(directory)]
    environ = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    made = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return directory


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Seen]:
    found = {}
    for file in sorted(site.rglob("*.html")):
        found[file.relative_to(site).as_posix()] = seen = Seen()
        seen.feed(read(file))
    assert len(found) > 30
    return found


def test_it_loads_nothing_from_elsewhere(site: Path, pages: dict[str, Seen]) -> None:
    for name, page in pages.items():
        assert page.loaded
        for target in page.loaded:
            assert not ELSEWHERE.match(target), f"{name} loads {target}"
            if name != "404.html":  # whose addresses are those of a server
                assert (site / name).parent.joinpath(urlsplit(target).path).exists(), f"{name}: {target}"
    styles = [*site.rglob("*.css")]
    assert styles
    for style in styles:
        for target in re.findall(r"url\(([^)]+)\)|@import ([^;]+)", read(style)):
            address = "".join(target).strip("\"'")
            assert address.startswith("data:") or not ELSEWHERE.match(address), f"{style.name}: {address}"


def test_every_page_can_be_reached(pages: dict[str, Seen]) -> None:
    unreached = {*pages} - {"404.html"} - pages["index.html"].navigation
    assert unreached <= {"index.html"}


def test_every_link_leads_to_a_place(site: Path, pages: dict[str, Seen]) -> None:
    for name, page in pages.items():
        if name == "404.html":
            continue
        for link in page.linked:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            file = (site / name).parent.joinpath(unquote(parts.path)).resolve() if parts.path else site / name
            assert file.is_file(), f"{name}: {link}"
            if parts.fragment and file.suffix == ".html":
                target = pages[file.relative_to(site.resolve()).as_posix() if parts.path else name]
                assert unquote(parts.fragment) in target.anchors, f"{name}: {link}"


def test_code_is_included(site: Path) -> None:
    """What a page includes is there, without the marks around it."""
    included = 0
    for page in DOCS.glob("client*.md"):
        included += len(re.findall(r"^--8<-- ", read(page), re.MULTILINE))
        assert "8&lt;" not in read(site / page.with_suffix(".html").name)
    assert included > 20


def test_every_picture_says_what_it_shows(pages: dict[str, Seen]) -> None:
    assert sum(page.elements["img"] for page in pages.values()) >= 5
    assert not [name for name, page in pages.items() if page.silent_pictures]
    for drawing in (DOCS / "pictures").glob("*.svg"):
        assert re.search(r"<title[^>]*>[^<]+</title>", read(drawing)), drawing.name


def test_pages_have_the_form_that_they_have_in_the_repository(pages: dict[str, Seen]) -> None:
    """The two ways to read Markdown differ: in a list that follows a line of text, for example."""
    for page in sorted(DOCS.glob("*.md")):
        on_site = pages[page.with_suffix(".html").name].elements
        in_repository = Counter(_elements(read(page)))
        assert {tag: on_site[tag] for tag in COUNTED} == {tag: in_repository[tag] for tag in COUNTED}, (
            page.name
        )


def _elements(text: str) -> Iterator[str]:
    """Read Markdown as the repository's viewer does, and name its elements."""
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type in ("fence", "code_block"):
            yield "pre"
        elif token.nesting == 1:
            yield token.tag
        yield from (child.tag for child in token.children or () if child.type == "image")
