"""No test of this suite fails because the machine is slow, or busy with other things."""

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import hypothesis
import pytest
from hypothesis import HealthCheck

from tests.conftest import LONG, PUSH
from tests.support.examples import examples
from tests.support.project import ROOT

FILES = sorted((ROOT / "tests").rglob("*.py"))
MAY_SLEEP = {"edge/test_backpressure.py", "lanes.py", "support/app_double.py", "support/waiting.py"}
"""They look again and again at what no event tells of, or wait for nothing to happen any more."""
MAY_READ_CLOCKS = {
    "fuzz/engine.py",
    "support/loop_time.py",
    "support/processor_time.py",
    "support/waiting.py",
    "unit/chunks/test_separators.py",
    "unit/chunks/test_steps.py",
    "unit/edge/test_costs.py",
    "unit/xcontent/test_text.py",
}
"""They count processor time, in proportion to what this machine needs for other work; one waits for another
process, and gives up at last; and one runs for as long as it is told to."""
CLOCKS = {"monotonic", "perf_counter", "process_time", "thread_time"}


@pytest.mark.parametrize("profile", [PUSH, LONG])
def test_no_profile_fails_a_slow_example(profile: str) -> None:
    settings = hypothesis.settings.get_profile(profile)
    assert settings.deadline is None
    assert HealthCheck.too_slow in settings.suppress_health_check


def test_the_push_profile_fails_by_no_chance_and_the_long_one_draws_more() -> None:
    push, long = map(hypothesis.settings.get_profile, (PUSH, LONG))
    assert push.derandomize
    assert not long.derandomize
    assert long.max_examples > 10 * push.max_examples


def test_the_profile_is_the_one_that_was_chosen(pytestconfig: pytest.Config) -> None:
    chosen = hypothesis.settings.get_profile(LONG if pytestconfig.getoption("long") else PUSH)
    assert hypothesis.settings().max_examples == chosen.max_examples
    assert examples(0.5).max_examples == round(chosen.max_examples / 2)
    assert examples(0.001).max_examples == 1


@pytest.mark.long
def test_what_is_marked_runs_in_the_long_profile_alone(pytestconfig: pytest.Config) -> None:
    assert pytestconfig.getoption("long")


def calls_in(file: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node


def in_the_suite(file: Path) -> str:
    return file.relative_to(ROOT / "tests").as_posix()


@lru_cache(maxsize=1)
def name_of(call: ast.Call) -> str:
    """Return what is called, as it is written. All rules ask it of a call, one after the other."""
    return ast.unparse(call.func)


def sets_a_profile(call: ast.Call) -> bool:
    known = {"deadline", "suppress_health_check"}
    return name_of(call).endswith("settings") and any(each.arg in known for each in call.keywords)


def counts_examples(call: ast.Call) -> bool:
    """Return whether a number of examples is given rather than one relative to the profile."""
    counted = (each.value for each in call.keywords if each.arg == "max_examples")
    return any(isinstance(number, ast.Constant) for number in counted)


def sleeps(call: ast.Call) -> bool:
    if name_of(call) not in ("asyncio.sleep", "time.sleep", "sleep"):
        return False
    return ast.unparse(call.args[0]) != "0"


def limits_by_a_number(call: ast.Call) -> bool:
    """Whether something has to happen within seconds of its own, rather than `TIMEOUT_S`."""
    name = name_of(call)
    limits = [each.value for each in call.keywords if each.arg == "timeout" and "client" not in name]
    limits += call.args[1:2] if name in ("asyncio.wait_for", "wait_for") else []
    limits += call.args[:1] if name in ("asyncio.timeout", "timeout") else []
    return any(isinstance(limit, ast.Constant) and isinstance(limit.value, int | float) for limit in limits)


def reads_a_clock(call: ast.Call) -> bool:
    return name_of(call).rpartition(".")[2] in CLOCKS


@pytest.mark.parametrize("file", FILES, ids=in_the_suite)
def test_no_test_can_fail_for_being_slow(file: Path) -> None:
    where = in_the_suite(file)
    has_profiles, may_sleep, may_read = where == "conftest.py", where in MAY_SLEEP, where in MAY_READ_CLOCKS
    for call in calls_in(file):
        assert has_profiles or not sets_a_profile(call), f"{at(file, call)}: the suite's profile says it"
        assert has_profiles or not counts_examples(call), f"{at(file, call)}: see tests.support.examples"
        assert may_sleep or not sleeps(call), f"{at(file, call)}: wait for what is to happen"
        assert not limits_by_a_number(call), f"{at(file, call)}: give it TIMEOUT_S"
        assert may_read or not reads_a_clock(call), f"{at(file, call)}: see tests.support.processor_time"


def at(file: Path, call: ast.Call) -> str:
    """Return where a call is, and what it says."""
    return f"tests/{in_the_suite(file)}:{call.lineno}: {ast.unparse(call)}"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("@settings(deadline=200)\ndef test() -> None: ...", sets_a_profile),
        ("hypothesis.settings(suppress_health_check=[])", sets_a_profile),
        ("@settings(max_examples=9)\ndef test() -> None: ...", counts_examples),
        ("time.sleep(0.1)", sleeps),
        ("asyncio.sleep(SHORT)", sleeps),
        ("asyncio.wait_for(x, 5)", limits_by_a_number),
        ("asyncio.timeout(0.1)", limits_by_a_number),
        ("process.communicate(timeout=60)", limits_by_a_number),
        ("time.perf_counter()", reads_a_clock),
    ],
)
def test_what_a_slow_machine_could_fail_is_seen(code: str, found: object) -> None:
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    rules = (sets_a_profile, counts_examples, sleeps, limits_by_a_number, reads_a_clock)
    assert {rule for rule in rules if any(map(rule, calls))} == {found}
