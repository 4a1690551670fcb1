"""docs/logging.md: its table has every field, and its examples are lines that the proxy writes."""

import ast
import json
import logging
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from rerank_proxy.app.metrics import NotCounted
from rerank_proxy.app.slow_log import SlowLog
from rerank_proxy.observe import request_id
from rerank_proxy.observe.access_log import Access, AccessLog
from rerank_proxy.observe.log import Formatter, form
from rerank_proxy.observe.log_json import EcsFormatter
from rerank_proxy.observe.outcome import Applied
from rerank_proxy.search.run import SearchAnswer
from rerank_proxy.search.timings import Timings
from rerank_proxy.settings import LogSettings
from tests.support.project import ROOT

PAGE = (ROOT / "docs" / "logging.md").read_text(encoding="utf-8")
SOURCES = [file.read_text(encoding="utf-8") for file in sorted((ROOT / "proxy").rglob("*.py"))]
AT = 1795810530.25
FULL = Access(
    kind="rerank",
    status=200,
    seconds=0.231,
    method="POST",
    target=b"/films/_search?q=alien&pretty",
    received=181,
    sent=107,
    client="10.0.0.7",
    outcome="applied; endpoint=e; model=m; window=3",
    times={"upstream": 0.01, "score": 0.2, "own": 0.001},
    request_id="8b5e0b2f77c14d0c9d0bb7d2d3a1f4c6",
    opaque_id="my app",
    trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
)


def documented() -> set[str]:
    table = PAGE.partition("\n## Fields\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def actions_documented() -> set[str]:
    table = PAGE.partition("\n## Events\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)} - {"event.action"}


def leaves(fields: dict[str, Any], above: str = "") -> Iterator[str]:
    for name, value in fields.items():
        path = above + name
        if isinstance(value, dict) and path != "rerank_proxy.times":
            yield from leaves(value, f"{path}.")
        else:
            yield path


@cache
def events() -> list[ast.Call]:
    """The calls of `event` in the sources."""
    importing = [text for text in SOURCES if re.search(r"observe\.events import .*\bevent\b", text)]
    trees = map(ast.parse, importing)
    nodes = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call))
    return [node for node in nodes if isinstance(node.func, ast.Name) and node.func.id == "event"]


def fields_of_events() -> set[str]:
    """Those that the sources give to `event`, and those that they write beside it."""
    named = {
        f"rerank_proxy.{argument.arg}"
        for call in events()
        for argument in call.keywords
        if argument.arg not in (None, "failed")
    }
    beside = re.compile(r"\"((?:process|user|error|http|url|event)\.[a-z_.]+)\"(?=[\]:])")
    return named | {found for text in SOURCES for found in beside.findall(text)}


def access_line(access: Access, *, is_json: bool) -> str:
    lines: list[str] = []
    form.is_json = is_json
    AccessLog(LogSettings(access="all"), write=lines.append, clock=lambda: AT).request(access)
    return lines[0].removesuffix("\n")


@pytest.fixture(autouse=True)
def as_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "is_json", False)
    monkeypatch.setattr(form, "process", "edge-1")


def example(name: str) -> str:
    return PAGE.partition(f"<!-- example: {name} -->\n```")[2].partition("\n")[2].partition("\n```")[0]


def test_the_table_has_the_fields_of_requests() -> None:
    failed = Access("plain", 502, 1.0, node="10.1.2.3:9200", reason="status_exception", ended="cut")
    shown = {name for each in (FULL, failed) for name in leaves(json.loads(access_line(each, is_json=True)))}
    assert shown <= documented()


def test_the_table_has_the_fields_of_records() -> None:
    try:
        raise ValueError("no luck")
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("rerank_proxy.x", logging.ERROR, __file__, 1, "m", (), info, "f")
    token = request_id.current.set("1")
    try:
        shown = set(leaves(json.loads(EcsFormatter("app").format(record))))
    finally:
        request_id.current.reset(token)
    assert {"log.logger", "error.stack_trace", "http.request.id"} < shown <= documented()


def test_the_table_has_the_fields_of_events_and_nothing_else() -> None:
    requests = set(leaves(json.loads(access_line(FULL, is_json=True))))
    assert fields_of_events() <= documented()
    known = requests | fields_of_events()
    own = {name for name in documented() if name.startswith("rerank_proxy.")}
    assert own - known == {"rerank_proxy.node", "rerank_proxy.ended"} - known


def test_the_page_has_every_action() -> None:
    texts = " ".join(SOURCES)
    written = {
        call.args[0].value for call in events() if call.args and isinstance(call.args[0], ast.Constant)
    }
    assert written <= actions_documented()
    assert {name for name in actions_documented() if f'"{name}"' not in texts} == set()


def test_the_examples_of_requests() -> None:
    assert example("access text")[24:] == access_line(FULL, is_json=False)[24:]  # the rest is local time
    shown = json.loads(example("access json"))
    now = json.loads(access_line(FULL, is_json=True))
    for line in (shown, now):
        del line["process"]["pid"], line["service"]["version"]
    assert shown == now


def test_the_example_of_a_slow_search(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = {"upstream": 0.4, "score": 2.05, "own": 0.05}
    monkeypatch.setattr(Timings, "named", lambda self: times)
    monkeypatch.setattr(Timings, "seconds", 2.5)
    slow = SlowLog(LogSettings(slow_warn_s=1), NotCounted())
    slow.begin("/films/_search", b"{}")
    outcome = Applied("e", "minilm", 90, 80, 7, 3, 2049.2, "text", rank_window_size=100)
    slow.answered(SearchAnswer(b"{}", (), outcome, Timings()))
    token = request_id.current.set("8b5e0b2f77c14d0c9d0bb7d2d3a1f4c6")
    try:
        line = Formatter().format(caplog.records[0])
    finally:
        request_id.current.reset(token)
    assert line[24:] == example("slow text")[24:]
