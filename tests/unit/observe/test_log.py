"""A record of the log is one line, whatever it contains, and its traceback cannot be taken for a record."""

import ast
import io
import logging
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rerank_proxy.observe.log import Formatter, adopt_libraries
from rerank_proxy.observe.log_lines import MAX_LINE, MAX_TRACEBACK, one_line, printable
from tests.support.project import ROOT
from tests.support.raw_http import TIMEOUT_S

RECORD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ ")
FORGED = "2026-01-01 00:00:00,000 CRITICAL proxy: all is lost"
ODD = "".join(map(chr, (*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F, 0x2028, 0x2029)))
BIDI = "".join(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF, 0xAD, 0xD800, 0xDFFF)))
TEXT = st.text(st.characters() | st.sampled_from(ODD + BIDI))


class HostileError(Exception):
    """An exception whose text raises another one."""

    def __str__(self) -> str:
        raise RuntimeError(FORGED)

    __repr__ = __str__


def format_(
    message: Any, *args: Any, error: BaseException | None = None, name: str = "rerank_proxy.test"
) -> str:
    exc_info = None if error is None else (type(error), error, error.__traceback__)
    return Formatter().format(logging.LogRecord(name, logging.ERROR, __file__, 1, message, args, exc_info))


def lines(text: str) -> list[str]:
    """Split lines as the strictest reader does: Python knows ten line ends."""
    return text.splitlines()


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


@given(TEXT, TEXT)
@example(ODD, BIDI)
@example(f"a\n{FORGED}", "a\r\nb")
def test_a_record_is_one_line(message: str, argument: str) -> None:
    for record in (format_(message.replace("%", "")), format_("inference endpoint [%s] failed", argument)):
        assert lines(record) == [record]
        assert record.isprintable()
        assert RECORD.match(record)
        record.encode("utf-8")


@given(TEXT)
@example(f"\n{FORGED}\x85{FORGED}\u2028{FORGED}")
def test_a_traceback_cannot_be_taken_for_records(text: str) -> None:
    record = format_("failed", error=raised(ValueError(text)))
    first, *others = lines(record)
    assert RECORD.match(first)
    assert all(line.startswith("    ") for line in others)
    assert all(line.isprintable() for line in others)
    assert "Traceback" in others[0]


def test_the_name_of_a_logger_is_text_from_outside_as_well() -> None:
    assert lines(format_("x", name=f"a\n{FORGED}")) != [FORGED]
    assert "\n" not in format_("x", name=f"a\n{FORGED}")


@pytest.mark.parametrize(
    ("message", "args"),
    [
        ("too few %s %s", ("one\n",)),
        ("%d", ("no number\n",)),
        ("%s", (HostileError(),)),
        (HostileError(), ()),
        ("%", ("a",)),
    ],
    ids=["too few", "no number", "hostile argument", "hostile message", "half a placeholder"],
)
def test_a_record_that_cannot_be_formatted_is_one_line_too(message: Any, args: tuple[Any, ...]) -> None:
    record = format_(message, *args)
    assert lines(record) == [record]
    assert RECORD.match(record)


@pytest.mark.parametrize(
    "error", [HostileError(), ExceptionGroup(FORGED, [HostileError(), ValueError(f"\n{FORGED}")])]
)
def test_any_exception_can_be_logged(error: BaseException) -> None:
    first, *others = lines(format_("failed", error=raised(error)))
    assert RECORD.match(first)
    assert others
    assert all(line.startswith("    ") for line in others)


@given(st.integers(0, 3 * MAX_LINE), st.sampled_from("a\n\U000e0001"))
def test_a_line_has_a_limit(length: int, character: str) -> None:
    line = one_line(character * length)
    assert len(line) <= MAX_LINE + 40
    assert (length <= MAX_LINE) or line.endswith(f" … ({length} characters)")


def test_a_traceback_has_a_limit() -> None:
    """Its beginning and its end are shown."""
    record = format_("failed", error=raised(ValueError("first" + "\nx" * 100_000 + "\nlast")))
    shown = lines(record)
    assert len(shown) <= MAX_TRACEBACK + 2
    assert "Traceback" in shown[1]
    assert shown[-1] == "    last"
    assert any(re.fullmatch(r"    … \(\d+ lines\)", line) for line in shown)


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_what_can_be_read_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


PROGRAM = textwrap.dedent(
    """
    import gc, logging, sys, threading, warnings
    library = logging.getLogger("library")
    library.addHandler(logging.StreamHandler())
    library.propagate = False
    from rerank_proxy.observe.log import configure, say
    configure("info")
    configure("info")
    FORGED = "\\n2026-01-01 00:00:00,000 CRITICAL proxy: all is lost\\r\\x1b[2J"
    def fail():
        raise ValueError(FORGED)
    class Unraisable:
        def __del__(self):
            fail()
        __repr__ = lambda self: FORGED
    logging.getLogger("rerank_proxy").info("%s", FORGED)
    library.error("%s", FORGED)
    warnings.warn(FORGED)
    say(FORGED)
    thread = threading.Thread(target=fail, name=FORGED)
    thread.start(); thread.join()
    Unraisable()
    gc.collect()
    logging.getLogger("rerank_proxy").error("%s %s", FORGED)
    fail()
    """
)


def test_whatever_way_python_code_takes_it_is_in_the_form_of_the_log() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    written = done.stderr.splitlines()
    records = [line for line in written if not line.startswith("    ")]
    assert [line for line in records if not RECORD.match(line)] == [
        "rerank-proxy: \\n2026-01-01 00:00:00,000 CRITICAL proxy: all is lost\\r\\x1b[2J"
    ]
    levels = [line.split()[2] for line in records if RECORD.match(line)]
    assert levels == ["INFO", "ERROR", "WARNING", "ERROR", "ERROR", "ERROR", "CRITICAL"]
    assert not any(line.startswith("2026-01-01") for line in written)


def test_libraries_that_bring_handlers_are_adopted() -> None:
    library = logging.getLogger("tests.library")
    kept = logging.StreamHandler(io.StringIO())
    for handler in (logging.StreamHandler(sys.stderr), logging.StreamHandler(sys.stdout), kept):
        library.addHandler(handler)
    library.propagate = False
    adopt_libraries()
    assert (library.handlers, library.propagate) == ([kept], True)
    library.removeHandler(kept)


SOURCES = sorted((ROOT / "proxy").rglob("*.py"))
LOG = ROOT / "proxy" / "rerank_proxy" / "observe" / "log.py"


def _names(file: Path) -> Iterator[str]:
    """Return the dotted names that a file uses and calls."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node)
        elif isinstance(node, ast.Call):
            yield f"{ast.unparse(node.func)}()"
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.keyword):
            yield f"{node.arg}={ast.unparse(node.value)}"


WAYS_AROUND = re.compile(
    r"sys\.(__)?stderr(__)?\.(write|writelines|buffer)\b.*|file=sys\..*|print\(\)|logging\.(config|handlers)\b.*|"
    r".*\b(basicConfig|StreamHandler|FileHandler|lastResort|print_exc)\b.*|traceback\.print_.*"
)


@pytest.mark.parametrize(
    "file", [file for file in SOURCES if file != LOG], ids=lambda f: str(f.relative_to(ROOT))
)
def test_nothing_goes_to_standard_error_by_another_way(file: Path) -> None:
    assert [name for name in _names(file) if WAYS_AROUND.fullmatch(name)] == []


def _processes() -> set[str]:
    """Return the modules that are run: as a package, as the command, and by the proxy with `-m`."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    found = {script.partition(":")[0] for script in scripts.values()}
    for file in SOURCES:
        found |= (
            {".".join(file.relative_to(ROOT / "proxy").with_suffix("").parts)}
            if file.name == "__main__.py"
            else set()
        )
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Tuple | ast.List):
                words = [each.value for each in node.elts if isinstance(each, ast.Constant)]
                found |= {module for flag, module in pairwise(words) if flag == "-m"}
    return found


def _file_of(module: str) -> Path | None:
    path = ROOT / "proxy" / module.replace(".", "/")
    files = (path.with_suffix(".py"), path / "__main__.py", path / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def _sets_up_the_log(module: str) -> bool:
    """Tell whether a module does so, or one that it imports."""
    seen, left = {LOG}, [module]
    while left:
        file = _file_of(left.pop())
        if file is not None and file not in seen:
            seen.add(file)
            names = set(_names(file))
            if "configure()" in names:
                return True
            # A module, or a name in one.
            ours = [name for name in names if name.startswith("rerank_proxy.")]
            left += [each for name in ours for each in (name, name.rpartition(".")[0])]
    return False


def test_every_process_sets_up_the_log() -> None:
    processes = _processes()
    assert processes >= {"rerank_proxy.__main__", "rerank_proxy.app.process"}
    assert [module for module in processes if not _sets_up_the_log(module)] == []
