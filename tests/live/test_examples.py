"""The programs of examples/, as a newcomer copies them, in front of the whole proxy."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from demo.films import EXPECTED_FIRST, INDEX
from testbed import RunningElasticsearch
from testbed.proxy import RunningProxy
from tests.clients.environments import Environment, clean_environ, copy_of, needs
from tests.live.conftest import MakeIndex
from tests.support.pages import read
from tests.support.project import ROOT

EXAMPLES: Final = ROOT / "examples"
FILMS: Final = json.loads(read(ROOT / "demo" / "films.json"))
BEST_BY_WORDS: Final = "Goodfellas"


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, env=clean_environ(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def arguments(
    elasticsearch: RunningElasticsearch, proxy: RunningProxy, make_index: MakeIndex
) -> tuple[str, str]:
    if elasticsearch.major < 9:
        pytest.skip("the clients of the examples are for Elasticsearch 9")
    return proxy.server.url, make_index(FILMS)


def check(output: str) -> None:
    """Both searches tell five films, and the question makes another one the first."""
    assert output.startswith("Plain\n")
    plain, _, reranked = output.partition("Reranked\n")
    for part, first in ((plain, BEST_BY_WORDS), (reranked, EXPECTED_FIRST)):
        titles = re.findall("|".join(re.escape(film["title"]) for film in FILMS), part)
        assert titles[0] == first
        assert len(titles) == 5


def test_curl(arguments: tuple[str, str]) -> None:
    needs("curl")
    check(run("sh", "search.sh", *arguments, cwd=EXAMPLES / "curl"))


def test_python(arguments: tuple[str, str]) -> None:
    check(run(sys.executable, "search.py", *arguments, cwd=EXAMPLES / "python"))


def commands_of(page: Path) -> list[list[str]]:
    """Return the calls of the program that a page shows, without its name."""
    text = read(page).replace("\\\n", " ")
    calls = re.findall(r"rerank-proxy (evaluate .+)", text)
    return [shlex.split(call) for call in calls]


def test_evaluation(arguments: tuple[str, str], tmp_path: Path) -> None:
    """The walk gives the figures that its page shows: they depend on the words and the model alone."""
    url, index = arguments
    page = EXAMPLES / "evaluation" / "README.md"
    shown = re.findall(r"^(?:bm25|minilm@\d+) +[\d.]{5} .*$", read(page), re.MULTILINE)
    outputs = []
    for at, command in enumerate(commands_of(page)):
        stand_ins = {"http://localhost:9201": url, INDEX: index}
        given = [stand_ins.get(each, each.replace("examples/", f"{EXAMPLES}/")) for each in command]
        options = ["--out", str(tmp_path / str(at)), "--timed", "0"]
        outputs.append(run(sys.executable, "-m", "rerank_proxy", *given, *options, cwd=ROOT / "proxy"))
    printed = outputs[0].splitlines()
    assert [each.split()[:4] for each in printed[1 : len(shown) + 1]] == [each.split()[:4] for each in shown]
    assert "minilm@16 is better than bm25" in read(page)
    assert "minilm@16 is better than bm25" in outputs[0]
    assert outputs[1].split("\n")[2].startswith("wider ")
    assert "<svg" in (tmp_path / "1" / "report.html").read_text()


def test_javascript(arguments: tuple[str, str]) -> None:
    install = (needs("npm"), "install", "--no-audit", "--no-fund", "--no-package-lock")
    made = copy_of(EXAMPLES / "javascript", "example-javascript", install).made()
    check(run(needs("node"), "search.js", *arguments, cwd=made))


def test_go(arguments: tuple[str, str], slowly_made: Callable[[Environment], Path]) -> None:
    build = (needs("go"), "build", "-o", "search", ".")
    made = slowly_made(copy_of(EXAMPLES / "go", "example-go", build))
    check(run(made / "search", *arguments, cwd=made))


def test_java(arguments: tuple[str, str]) -> None:
    build = (needs("mvn"), "--quiet", "package", "dependency:copy-dependencies")
    made = copy_of(EXAMPLES / "java", "example-java", build).made()
    check(run(needs("java"), "-cp", "target/classes:target/dependency/*", "Search", *arguments, cwd=made))


def test_all_search_the_films_of_the_demo() -> None:
    programs = [file for file in EXAMPLES.rglob("*earch.*") if file.is_file()]
    assert len(programs) == len(list(EXAMPLES.iterdir())) - 2  # README.md and the evaluation
    for program in programs:
        text = read(program)
        assert "http://localhost:9201" in text
        assert INDEX in text


def test_the_page_says_how_to_run_each() -> None:
    page = read(EXAMPLES / "README.md")
    for directory in (each for each in EXAMPLES.iterdir() if each.is_dir()):
        assert f"({directory.name}/" in page
