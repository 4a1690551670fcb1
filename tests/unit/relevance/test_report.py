"""The report: readable by itself in any browser, whatever the queries hold."""

import itertools
import json
import re
from html.parser import HTMLParser
from typing import Any, Final
from xml.dom import minidom

import pytest

from rerank_proxy.relevance.evaluation.running import Evaluation
from rerank_proxy.relevance.report.document import document_of
from rerank_proxy.relevance.report.drawing import drawn
from rerank_proxy.relevance.report.markdown import markdown_of
from rerank_proxy.relevance.report.page import page_of
from rerank_proxy.relevance.report.plots import plots_of
from tests.support.evaluations import evaluation

HOSTILE: Final = "<script>alert(1)</script> | `x` &amp; \"'{{query}}{% raw %} \x1b[2J"
VOID: Final = {"meta", "link", "br", "img", "input"}


class Page(HTMLParser):
    """The elements of a page, in order; every one that is opened is closed in turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words += data

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


def page(made: Evaluation) -> Page:
    return Page(page_of(made, document_of(made), plots_of(made.results)))


def no_number(name: str) -> Any:
    raise AssertionError(f"JSON has no {name}")


@pytest.fixture(scope="module")
def made() -> Evaluation:
    return evaluation(text=HOSTILE, failing="small@10")


@pytest.fixture(scope="module")
def shown(made: Evaluation) -> Page:
    return page(made)


def test_it_needs_nothing_else(shown: Page) -> None:
    """No script, no address that a browser would ask, and a policy that would not let it."""
    assert not shown.open
    assert not shown.all("script", "link", "img", "iframe", "object", "embed", "base", "form")
    for _, attributes in shown.elements:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href", "action"):
                assert (value or "").startswith("#")
            if name == "style":
                assert not re.search(r"url\((?!#)", value or "")
    policy = next(each["content"] for each in shown.all("meta") if "http-equiv" in each)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_it_can_be_read_without_seeing_it(shown: Page) -> None:
    levels = [int(tag[1]) for tag, _ in shown.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in itertools.pairwise(levels))
    assert all("scope" in each for each in shown.all("th"))
    assert len(shown.all("table")) == len(shown.all("caption"))
    ids = [each["id"] for _, each in shown.elements if "id" in each]
    assert len(ids) == len({*ids})
    for plot in shown.all("svg"):
        assert plot["role"] == "img"
        assert plot["aria-labelledby"] in ids
    assert len(shown.all("svg")) == 2 * 4, "of each width one is shown, by the width of the screen"
    assert shown.all("html")[0]["lang"] == "en"


def test_queries_are_text_whatever_they_hold(made: Evaluation, shown: Page) -> None:
    assert HOSTILE in shown.words
    text = markdown_of(made, document_of(made))
    assert "<script>" not in text.replace("\\<script", "")
    heads = [line.count(" | ") for line in text.splitlines() if line.startswith("| Query")]
    rows = [re.sub(r"\\\|", "", line).count(" | ") for line in text.splitlines() if "alert" in line]
    assert {*rows} == {*heads} == {3}


def test_markdown_gives_a_terminal_no_orders() -> None:
    """A report is read with `cat`, too; a query or a server's reason may hold any character."""
    made = evaluation(text="\x1b]0;title\x07 \u202e \u2028")
    text = markdown_of(made, document_of(made))
    assert "title" in text
    assert text.replace("\n", "").isprintable()


def test_it_says_what_was_run_and_what_failed(shown: Page) -> None:
    words = " ".join(shown.words.split())
    for said in (
        "films, 60 documents",
        "Elasticsearch 9.5.0",
        "small-model",
        "seed 1",
        "small@10 failed for 40 of 40",
    ):
        assert said in words


@pytest.mark.parametrize("failing", [None, "bm25", "a@100"])
def test_json_is_json_and_all_forms_can_be_made(failing: str | None) -> None:
    few = evaluation(queries=3, endpoints=("a",), windows=(10, 100), failing=failing)
    document = document_of(few)
    read = json.loads(json.dumps(document, allow_nan=False), parse_constant=no_number)
    assert [each["name"] for each in read["systems"]] == ["bm25", "a@10", "a@100"]
    assert page(few).words
    assert markdown_of(few, document).startswith("# Does reranking help? films\n")


def test_one_system_alone_is_measured_and_compared_with_nothing() -> None:
    alone = page(evaluation(endpoints=(), windows=(10,)))
    assert not alone.all("svg")
    assert "bm25: nDCG@10" in alone.words


@pytest.mark.parametrize("name", ["$a^$", "_x", "</text><script>", "--> ]]>", "x" * 300])
def test_names_of_systems_are_text_in_plots(name: str) -> None:
    plots = plots_of(evaluation(queries=3, first=name, endpoints=("$b_$", "_c"), windows=(10, 50)).results)
    texts = {each.name: _texts(each.svg) for each in plots}
    assert {drawn(name), "$b_$", "_c"} <= texts["windows"] & texts["costs"]


def _texts(svg: str) -> set[str]:
    return {
        each.firstChild.data
        for each in minidom.parseString(svg).getElementsByTagName("text")
        if isinstance(each.firstChild, minidom.Text)
    }


def test_plots_are_drawn_the_same_each_time_and_are_xml(made: Evaluation) -> None:
    plots = plots_of(made.results)
    assert [each.name for each in plots] == ["differences", "windows", "costs", "queries"]
    assert plots == plots_of(made.results)
    for each in plots:
        assert minidom.parseString(each.svg).getElementsByTagName("title")
        assert "var(--faint" in each.svg
        assert each.alternative.endswith(".")
