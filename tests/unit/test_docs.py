"""The documents say what is so: their links, commands, settings, searches and tests exist."""

import ast
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import click
import msgspec
import pytest
import yaml

from rerank_proxy.cli import main
from rerank_proxy.search.language.request import parse_search
from rerank_proxy.settings import Settings, load, table
from rerank_proxy.settings import page as settings_page
from rerank_proxy.xcontent.params import parse_params
from tests.support.metrics import documented
from tests.support.pages import PAGES, defined_tests, named_tests, read, table_after
from tests.support.project import ROOT

_SHELL = ("sh", "bash", "console")

ARCHITECTURE = ROOT / "docs" / "architecture.md"
PACKAGE = ROOT / "proxy" / "rerank_proxy"
FORMER = {
    "before-you-start-rerank-proxy-check",
    "probes",
    "models",
    "elastic-rerank-and-other-model-packages",
    "metrics",
    "endpoints-that-clients-create",
    "elasticsearch-with-a-basic-licence",
    "what-happened-to-a-search-x-rerank",
    "errors-and-remedies",
    "when-something-fails-in-between",
    "sizes",
    "shared-cache",
    "several-nodes",
    "tls-and-authentication",
    "tls",
    "what-changes-for-clients",
    "stopping",
    "limits-today",
}
"""The sections that docs/operations.md had."""
NO_SETTINGS = {
    "endpoints.json",
    "inference.get",
    "inference.inference",
    "log.logger",
    "log.origin.file.line",
    "log.origin.file.name",
    "log.origin.function",
    "search.allow_expensive_queries",
    "search.default_keep_alive",
    "tls.crt",
    "tracing.apm.agent.server_url",
    "tracing.apm.enabled",
}
"""Names of files, APIs and fields of lines of the log, and settings of Elasticsearch."""


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    page: Path
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}: {self.text.strip().splitlines()[0][:40]}"


def _blocks(*languages: str) -> list[Block]:
    fence = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
    found = [(page, *match) for page in PAGES for match in fence.findall(read(page))]
    return [Block(page, name, dedent(text)) for page, _, name, text in found if name in languages]


def _commands(block: Block) -> Iterator[list[str]]:
    """The words of each command of a shell block; a continued line and a quoted text are one command."""
    text = re.sub(r"^\$ ", "", block.text.replace("\\\n", " "), flags=re.MULTILINE)
    pending = ""
    for line in text.splitlines():
        pending = f"{pending}\n{line}" if pending else line
        try:
            words = shlex.split(pending, comments=True)
        except ValueError:
            continue  # a quotation that goes on in the next line
        pending = ""
        if words:
            yield words
    assert not pending, f"{block}: a quotation does not end"


def test_the_settings_page_is_up_to_date() -> None:
    written = read(ROOT / "docs" / "settings.md")
    assert written == settings_page.page(), "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        if anchor:
            assert anchor in _anchors(file), target


def test_what_was_a_section_of_operations_leads_to_its_page() -> None:
    """Links to the sections that the page once had still hold, and go on from there."""
    page = ROOT / "docs" / "operations.md"
    assert _anchors(page) >= FORMER
    for section in re.split(r"^##+ ", read(page), flags=re.MULTILINE)[1:]:
        assert re.search(r"^(?:- )?\[[^]]+\]\([\w-]+\.md", section, re.MULTILINE), section


def _anchors(page: Path) -> set[str]:
    """What headings are linked by: lower case, without punctuation, hyphens for spaces."""
    headings = re.findall(r"^#+ (.+)$", read(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("block", _blocks(*_SHELL), ids=str)
def test_commands_are_real(block: Block) -> None:
    for words in _commands(block):
        if "make" in words:
            _check_make(words[words.index("make") + 1 :])
        if words[0].endswith("rerank-proxy"):
            _check_rerank_proxy(words[1:])


def test_commands_in_the_text_are_real() -> None:
    """Command and options exist; values may be placeholders."""
    for page in PAGES:
        for words in map(str.split, re.findall(r"`rerank-proxy ([a-z][^`]*)`", read(page))):
            command: click.Command = main
            while isinstance(command, click.Group) and words and words[0].isalpha():
                assert words[0] in command.commands, f"{page.name}: rerank-proxy {' '.join(words)}"
                command = command.commands[words.pop(0)]
            known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
            for option in (word.partition("=")[0] for word in words if word.startswith("--")):
                assert option in known, f"{page.name}: {command.name} {option}"


def test_make_targets_in_the_text_are_real() -> None:
    for page in PAGES:
        for command in re.findall(r"`make ([^`]+)`", read(page)):
            _check_make(command.split())


def _check_make(words: list[str]) -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", read(ROOT / "Makefile"), re.MULTILINE))
    for word in words:
        assert "=" in word or word in targets, f"make {word}"


def _check_rerank_proxy(words: list[str]) -> None:
    """Every option is one of the command's, with a value where it takes one."""
    name, *arguments = words
    command = main.commands[name]
    try:
        command.make_context(f"rerank-proxy {name}", arguments, resilient_parsing=False)
    except click.ClickException as refused:
        pytest.fail(f"rerank-proxy {shlex.join(words)}: {refused.format_message()}")


@pytest.mark.parametrize("block", _blocks("yaml"), ids=str)
def test_settings_load(block: Block, tmp_path: Path) -> None:
    values = yaml.safe_load(block.text)
    assert set(values) <= set(Settings.model_fields), "not settings? give the block another language"
    path = tmp_path / "settings.yaml"
    path.write_text(block.text, encoding="utf-8")
    load(path, environ={})


@pytest.mark.parametrize("block", _blocks("json", "http"), ids=str)
def test_bodies_are_json(block: Block) -> None:
    body = block.text.partition("\n")[2] if block.language == "http" else block.text
    if body.strip():
        msgspec.json.decode(body)


def test_settings_in_the_text_exist() -> None:
    """Also those of the chart, some of which have the same first word."""
    values = yaml.safe_load(read(ROOT / "deploy" / "helm" / "rerank-proxy" / "values.yaml"))
    known = {row.key for row in table()} | set(_keys(values))
    named = re.compile(r"`([a-z_]+(?:\.[A-Za-z_]+)+)(?:: [^`]*)?`")
    for page in set(PAGES) - {ARCHITECTURE, ROOT / "CHANGELOG.md"}:  # with Python's names, and former ones
        for name in named.findall(read(page)):
            key = re.sub(r"^(models|endpoints)\.\w+\.", r"\1.NAME.", name)
            if key.partition(".")[0] in Settings.model_fields and key not in NO_SETTINGS:
                assert key in known or any(each.startswith(f"{key}.") for each in known), (
                    f"{page.name}: {name}"
                )


def _keys(values: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """Find the keys of nested mappings, with dots between."""
    for name, value in values.items():
        yield before + name
        if isinstance(value, Mapping):
            yield from _keys(value, f"{before}{name}.")


@pytest.mark.parametrize("block", _blocks("python"), ids=str)
def test_python_searches_are_reranked(block: Block) -> None:
    searches = [
        {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
        for call in ast.walk(ast.parse(block.text))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "search"
    ]
    for search in searches:
        _check_search(search.pop("index"), msgspec.json.encode(search))


@pytest.mark.parametrize("block", _blocks(*_SHELL), ids=str)
def test_curl_searches_are_reranked(block: Block) -> None:
    for words in _commands(block):
        urls = [word for word in words if "_search" in word and "{" not in word]
        if words[0] != "curl" or "-d" not in words or not urls:
            continue
        (url,) = urls
        _check_search(url.split("/")[-2], words[words.index("-d") + 1].encode())


@pytest.mark.parametrize("block", _blocks("http"), ids=str)
def test_searches_of_the_console_are_reranked(block: Block) -> None:
    line, _, body = block.text.partition("\n")
    if line.endswith("/_search"):
        _check_search(line.split("/")[-2], body.encode())


def _check_search(index: str, body: bytes) -> None:
    """It can be read, and is for the application if it has a reranker."""
    request = parse_search(index, parse_params(""), body)
    assert (request is not None) == (b"text_similarity_reranker" in body), body


def test_the_readme_shows_both_kinds_of_search() -> None:
    shown = [block for block in _blocks("python", "sh") if "text_similarity_reranker" in block.text]
    assert {block.language for block in shown if block.page.name == "README.md"} == {"python", "sh"}


def test_metrics_in_the_text_exist() -> None:
    listed = documented(read(ROOT / "docs" / "metrics.md"))
    for page in set(PAGES) - {ROOT / "CHANGELOG.md"}:  # with former names
        for name in re.findall(r"`(rerank_proxy_\w+\*?)(?:\{[^`]*\})?`", read(page)):
            pattern = re.escape(name.removesuffix("*")) + (r"\w*" if name.endswith("*") else "")
            assert any(re.fullmatch(pattern, each) for each in listed), f"{page.name}: {name}"


def test_every_invariant_is_guarded_by_tests() -> None:
    rows = table_after("invariants", ARCHITECTURE).splitlines()[2:]
    assert len(rows) >= 10
    for row in rows:
        assert list(named_tests(row)), f"no test guards: {row}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_that_the_pages_name_exist(page: Path) -> None:
    for path, test in named_tests(read(page)):
        assert test in defined_tests(ROOT / path), f"{path}::{test}"


def test_files_that_the_pages_name_exist() -> None:
    named = re.compile(r"`((?:proxy|demo|testbed|tests|config|deploy|docs|benchmarks|examples)/[\w./-]*)`")
    for page in PAGES:
        for path in named.findall(read(page)):
            assert (ROOT / path).exists(), f"{page.name}: {path}"


def test_files_that_the_architecture_names_exist() -> None:
    """They are named from the package on."""
    named = re.findall(r"`([\w./-]+(?:\.py|/))`", read(ARCHITECTURE))
    assert len(named) > 100
    missing = [path for path in named if not any((base / path).exists() for base in (ROOT, PACKAGE))]
    assert not missing


def test_each_question_is_answered_by_few_files() -> None:
    rows = table_after("questions", ARCHITECTURE).splitlines()[2:]
    assert len(rows) >= 10
    for row in rows:
        answer = row.split("|")[2]
        assert len(re.findall(r"`[\w/]+\.py`|\]\([^)]+\)", answer)) in (1, 2, 3), row


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_includes_is_the_file(page: Path) -> None:
    included = re.compile(r"<!-- included: (\S+) -->\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    for path, text in included.findall(read(page)):
        assert text == read(ROOT / path), path


# In two halves, so that this file does not name what it looks for.
_REGISTRIES = [
    ".".join(halves)
    for halves in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("repo1", "maven"),
        ("repo", "maven"),
        ("maven", "org"),
        ("proxy", "golang"),
        ("crates", "io"),
        ("rubygems", "org"),
    )
]


def test_no_package_registry_is_named() -> None:
    """An installer may use a mirror: which one is a setting of its machine."""
    endings = ["md", "toml", "txt", "yaml", "yml", "py", "json", "xml", "mod"]
    text_files = (*(f"*.{ending}" for ending in endings), "Makefile", "Dockerfile", ".dockerignore")
    folders = ["proxy", "demo", "testbed", "tests", "config", "deploy", "docs", "benchmarks", "examples"]
    folders += ["requirements", ".github"]
    files = [file for name in text_files for file in ROOT.glob(name)]
    files += [file for folder in folders for name in text_files for file in (ROOT / folder).rglob(name)]
    assert len(files) > 100
    for file in files:
        text = read(file).lower()
        for host in _REGISTRIES:
            assert host not in text, f"{file.relative_to(ROOT)} names {host}"
