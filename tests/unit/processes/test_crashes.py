"""A process that crashes leaves its reason in the log."""

import asyncio
import json
import logging
import os
import signal
import sys
import textwrap
from io import BytesIO
from pathlib import Path

import pytest

from rerank_proxy.observe.log import form
from rerank_proxy.observe.log_json import EcsFormatter
from rerank_proxy.observe.log_lines import MAX_TRACEBACK
from rerank_proxy.processes import child_stderr
from rerank_proxy.processes.child import Child
from rerank_proxy.processes.child_stderr import LAST_LINES, MOST, ChildStderr, ended, log_descriptor
from rerank_proxy.processes.kept import KeptProcess, how_ended, who_killed
from rerank_proxy.processes.memory_kills import memory_kills
from tests.support.raw_http import TIMEOUT_S
from tests.support.waiting import until_true

PREPARED = "from rerank_proxy.processes.startup import log_to, orders_of_parent, prepare; prepare()\n"


def program(script: str) -> list[str]:
    return [sys.executable, "-c", PREPARED + textwrap.dedent(script)]


async def crashed(script: str) -> tuple[int, list[str]]:
    """Run a script as a child. Returns how it ended, and what it wrote last."""
    child = Child(program(script), b"{}\n", "edge-1")
    status = await asyncio.wait_for(child.wait(), TIMEOUT_S)
    return status, await child.last_lines()


async def test_a_fault_of_native_code_leaves_the_stacks(caplog: pytest.LogCaptureFixture) -> None:
    status, last = await crashed(
        """
        import os, signal
        def unlucky():
            os.kill(os.getpid(), signal.SIGSEGV)
        unlucky()
        """
    )
    assert how_ended(status) == "was killed by SIGSEGV"
    assert last[0] == "Fatal Python error: Segmentation fault"
    assert any(line.endswith("in unlucky") for line in last)
    records = [record for record in caplog.records if record.name == "rerank_proxy.stderr"]
    assert [record.getMessage() for record in records] == [f"edge-1: {line}" for line in last]
    (read,) = {json.loads(EcsFormatter("x").format(record))["event"]["dataset"] for record in records}
    assert read == "rerank_proxy.stderr"


async def test_what_native_code_says_before_it_ends_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    status, last = await crashed(
        "import os; os.write(2, b'terminate called\\n\\n\\xff\\x1b[2J\\n'); os.abort()"
    )
    assert how_ended(status) == "was killed by SIGABRT"
    assert last[:2] == ["terminate called", "\\xff\\x1b[2J"]
    assert "edge-1: terminate called" in caplog.messages


async def test_an_uncaught_exception_is_a_record_of_the_process_itself(
    capfd: pytest.CaptureFixture[str],
) -> None:
    log_descriptor.cache_clear()  # that of this test
    try:
        status, last = await crashed(
            f"""
            orders_of_parent()
            log_to({log_descriptor()})
            from rerank_proxy.observe.log import configure
            configure("info", "json", process="edge-1")
            raise ValueError("no\\n" + "luck")
            """
        )
    finally:
        os.close(log_descriptor())
        log_descriptor.cache_clear()
    assert (status, last) == (1, [])
    (line,) = capfd.readouterr().err.splitlines()
    record = json.loads(line)
    assert (record["log"]["level"], record["process"]["name"]) == ("critical", "edge-1")
    assert record["error"]["type"] == "ValueError"
    assert record["error"]["stack_trace"].endswith("ValueError: no\nluck")


async def test_one_that_cannot_be_prepared_says_why_all_the_same() -> None:
    status, last = await crashed("raise ValueError('early')")
    assert (status, last[-1]) == (1, "ValueError: early")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_kept_process_says_how_it_ended(
    number: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    kept = KeptProcess(
        "the process", "edge-1", program(f"import os; os.kill(os.getpid(), {int(number)})"), b"{}\n", (),
        on_start=lambda: None, on_end=lambda: None, on_restart=lambda: None,
    )  # fmt: skip

    def said() -> list[logging.LogRecord]:
        return [record for record in caplog.records if record.name.endswith(".kept")]

    kept.start()
    await until_true(lambda: bool(said()), "said")
    await kept.stop(TIMEOUT_S)
    record = said()[0]
    assert record.getMessage().startswith(f"the process was killed by {number.name}")
    assert record.getMessage().endswith("; it is started again in 0 s")
    killed = record.getMessage().partition("SIGKILL")[2]
    assert ("memory" in killed) == (number == signal.SIGKILL)
    fields = json.loads(EcsFormatter("supervisor").format(record))
    assert (fields["event"]["action"], fields["event"]["outcome"]) == ("process-ended", "failure")
    assert fields["rerank_proxy"]["signal"] == int(number)
    assert fields["process"]["name"] == "edge-1"


def test_the_end_has_the_last_lines() -> None:
    fields = ended("app", 7, 70, ["one", "two"])
    assert (fields["process.exit_code"], fields["error.stack_trace"]) == (70, "one\ntwo")
    assert "rerank_proxy.signal" not in fields


def test_a_process_that_says_too_much_is_cut_short(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    lines = b"".join(b"%d\n" % number for number in range(MOST + 5))
    reader = ChildStderr("app", 7, BytesIO(lines + b"x" * 10_000), clock=lambda: now)
    assert len(reader.last_lines()) == LAST_LINES
    assert len(caplog.messages) == MOST + 1
    assert caplog.messages[-1] == "app: 8 lines are left out"
    assert max(map(len, reader.last_lines())) <= child_stderr.MAX_BYTES


def test_in_json_the_stacks_are_in_one_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(form, "is_json", True)
    stacks = ["Fatal Python error: Aborted", *map(str, range(MAX_TRACEBACK + 5))]
    reader = ChildStderr("app", 7, BytesIO("\n".join(["before", *stacks]).encode()))
    assert reader.last_lines()[0] == stacks[0]
    assert len(reader.last_lines()) == MAX_TRACEBACK
    assert caplog.messages == ["app: before"]


@pytest.mark.parametrize(
    ("group", "file", "text"),
    [
        ("0::/a/b\n", "sys/fs/cgroup/a/b/memory.events", "oom 3\noom_kill 2\n"),
        ("0::/of/the/host\n", "sys/fs/cgroup/memory.events", "oom_kill 2\noom_group_kill 0\n"),
        ("4:cpu:/\n3:hugetlb,memory:/d\n0::/\n", "sys/fs/cgroup/memory/d/memory.oom_control", "oom_kill 2\n"),
        ("3:memory:/d\n", "sys/fs/cgroup/memory/memory.oom_control", "under_oom 0\noom_kill 2\n"),
        ("", "sys/fs/cgroup/memory.events", None),
        ("junk\n\n0::/\n", "sys/fs/cgroup/memory.events", None),
        ("0::/\n", "sys/fs/cgroup/memory.events", None),
    ],
)
def test_kills_for_lack_of_memory_are_read(tmp_path: Path, group: str, file: str, text: str | None) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(group)
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text("oom_kill many\n" if text is None else text)
    assert memory_kills(tmp_path) == (None if text is None else 2)


def test_who_killed_is_said_as_far_as_it_is_known() -> None:
    assert "by the kernel" in who_killed(1, 2)
    assert "by someone" in who_killed(2, 2)
    assert "kubectl describe pod" in who_killed(None, 2)
    assert memory_kills(Path("/nowhere")) is None
