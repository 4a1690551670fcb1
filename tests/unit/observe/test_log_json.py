"""As JSON, too, a record is one line, whatever it contains, and nothing that is logged raises."""

import asyncio
import json
import logging
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rerank_proxy.observe import request_id
from rerank_proxy.observe.events import event
from rerank_proxy.observe.log_json import EcsFormatter
from rerank_proxy.observe.log_lines import MAX_LINE, MAX_TRACEBACK
from rerank_proxy.observe.log_times import utc_time
from tests.support.project import ROOT
from tests.support.raw_http import TIMEOUT_S
from tests.unit.observe.test_log import BIDI, FORGED, ODD, PROGRAM, TEXT, HostileError, raised

VALUES = st.recursive(
    TEXT | st.none() | st.booleans() | st.integers() | st.floats() | st.builds(object),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def format_(
    message: Any, *args: Any, error: BaseException | None = None, **extra: Any
) -> tuple[str, dict[str, Any]]:
    exc_info = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord("rerank_proxy.x", logging.ERROR, __file__, 1, message, args, exc_info)
    record.__dict__.update(extra)
    line = EcsFormatter("edge-1").format(record)
    return line, json.loads(line)


@given(TEXT, VALUES)
@example(ODD, BIDI)
@example(f"a\n{FORGED}", {"a": [[[[[[[[1]]]]]]]]})
def test_a_record_is_one_line(message: str, value: Any) -> None:
    line, read = format_(
        message.replace("%", ""), **{"rerank_proxy.model": value, "rerank_proxy.a.b": message}
    )
    assert line.splitlines() == [line]
    assert line.isprintable()
    line.encode()
    assert read["process"]["name"] == "edge-1"


@given(TEXT)
@example(f"\n{FORGED}\x85{FORGED}\u2028{FORGED}")
def test_a_traceback_is_a_part_of_it(text: str) -> None:
    line, read = format_("failed", error=raised(ValueError(text)))
    assert line.splitlines() == [line]
    assert read["error"]["type"] == "ValueError"
    assert read["error"]["stack_trace"].startswith("Traceback")


def test_everything_has_a_limit() -> None:
    deep: Any = "x" * 99_999
    for _ in range(50):
        deep = {"a": deep, "b": [deep] * 99} if isinstance(deep, str) else {"a": deep}
    error = raised(ValueError("first" + "\nx" * 100_000 + "\nlast"))
    line, read = format_(
        "y" * 99_999, error=error, **{"rerank_proxy.model": deep, "rerank_proxy.node": "z" * 9999}
    )
    assert len(read["message"]) <= MAX_LINE + 40
    assert len(read["rerank_proxy"]["node"]) <= MAX_LINE + 40
    assert len(read["error"]["stack_trace"].splitlines()) <= MAX_TRACEBACK + 1
    assert len(line) < 64 * 1024


@pytest.mark.parametrize(
    ("message", "args"),
    [
        ("too few %s %s", ("one\n",)),
        ("%d", ("no number\n",)),
        ("%s", (HostileError(),)),
        (HostileError(), ()),
    ],
)
def test_a_record_that_cannot_be_formatted_is_one_line_too(message: Any, args: tuple[Any, ...]) -> None:
    line, _ = format_(message, *args)
    assert line.splitlines() == [line]


def test_any_exception_can_be_logged() -> None:
    _, read = format_("failed", error=raised(HostileError()))
    assert read["error"]["type"] == "HostileError"
    assert "HostileError" in read["error"]["stack_trace"]


def test_an_event_has_its_fields() -> None:
    _, read = format_("m", **event("model-failed", "process", failed=True, model="m", node=None))
    assert read["event"] == {
        "action": "model-failed",
        "category": ["process"],
        "outcome": "failure",
        "dataset": "rerank_proxy.log",
    }
    assert read["rerank_proxy"] == {"model": "m"}


def test_fields_of_libraries_are_left_out() -> None:
    """Elasticsearch may have learnt another type for the name."""
    fields: dict[str, Any] = {"service": "x", "color_message": "y", "labels": {"a": 1}}
    _, read = format_("m", **fields)
    assert read["service"] == {"name": "rerank-proxy", "version": read["service"]["version"]}
    assert not {"color_message", "labels"} & set(read)


def test_fields_may_take_the_place_of_the_librarys() -> None:
    fields: dict[str, Any] = {"process.name": "app", "process.pid": 7, "process.pid.odd": 1}
    _, read = format_("m", **fields)
    assert (read["process"]["name"], read["process"]["pid"]) == ("app", {"odd": 1})


async def test_the_id_of_a_request_is_in_the_lines_of_its_tasks_alone() -> None:
    async def seen() -> str | None:
        await asyncio.sleep(0)
        _, read = format_("m")
        found: str | None = read.get("http", {}).get("request", {}).get("id")
        return found

    async def request(name: str) -> list[str | None]:
        request_id.current.set(name)
        return [await seen(), await asyncio.create_task(seen()), name]

    both = await asyncio.gather(asyncio.create_task(request("a")), asyncio.create_task(request("b")))
    assert both[0] == ["a"] * 3
    assert both[1] == ["b"] * 3
    assert await seen() is None


@pytest.mark.parametrize(
    ("at", "text"), [(0, "1970-01-01T00:00:00.000Z"), (1795810530.25, "2026-11-27T20:15:30.250Z")]
)
def test_times(at: float, text: str) -> None:
    assert utc_time(at) == text


def test_whatever_way_python_code_takes_it_is_json() -> None:
    program = PROGRAM.replace('configure("info")', 'configure("info", "json", process="app")')
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    read = [json.loads(line) for line in done.stderr.splitlines()]
    levels = ["info", "error", "warning", "info", "error", "error", "error", "critical"]
    assert [line["log"]["level"] for line in read] == levels
    assert all(line["process"]["name"] == "app" for line in read)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["@timestamp"]) for line in read)
