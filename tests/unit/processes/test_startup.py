"""What a process of the proxy does first."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rerank_proxy.processes.child import Child
from rerank_proxy.processes.loop import new_event_loop
from tests.support.processes import is_running
from tests.support.project import ROOT
from tests.support.raw_http import TIMEOUT_S
from tests.support.waiting import until_true

HARMLESS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@pytest.fixture
def _ignoring() -> Iterator[None]:
    """Signals as they are in a process that serves."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in HARMLESS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@contextmanager
def not_ignored(number: int) -> Iterator[None]:
    """A child begins with the signals that its parent ignores."""
    before = signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(number, before)


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        capture_output=True,
        cwd=ROOT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


class TestSignals:
    def test_they_are_ignored_before_anything_else_is_imported(self) -> None:
        """What takes time must come later: a signal could end the process meanwhile."""
        done = run(
            """
            import sys
            before = set(sys.modules)
            import rerank_proxy.__main__, rerank_proxy.app.process
            new = {name.partition(".")[0] for name in set(sys.modules) - before}
            print(sorted(new - sys.stdlib_module_names))
            print(sorted(name for name in sys.modules if name.startswith("rerank_proxy.")))
            """
        )
        assert done.stdout.splitlines() == [
            "['rerank_proxy']",
            "['rerank_proxy.__main__', 'rerank_proxy.app', 'rerank_proxy.app.process', "
            "'rerank_proxy.observe', 'rerank_proxy.observe.stderr', "
            "'rerank_proxy.processes', 'rerank_proxy.processes.startup']",
        ]

    @pytest.mark.usefixtures("_ignoring")
    def test_a_child_ignores_them_from_its_first_moment_on(self) -> None:
        """It is not told to: what the program is asked is what the system gave it."""
        script = (
            f"import signal, sys; numbers = {[*map(int, HARMLESS)]}\n"
            "sys.exit(40 + sum(signal.getsignal(number) == signal.SIG_IGN for number in numbers))"
        )

        async def child() -> int:
            return await Child([sys.executable, "-c", script], b"").wait()

        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            assert runner.run(child()) == 43

    @pytest.mark.parametrize("number", HARMLESS)
    def test_a_command_that_does_not_serve_can_be_ended_by_them(self, number: int, tmp_path: Path) -> None:
        settings = tmp_path / "settings.yaml"
        os.mkfifo(settings)
        command = [sys.executable, "-m", "rerank_proxy", "check", "--config", str(settings)]
        with not_ignored(number):  # as it is below nohup
            started = subprocess.Popen(command)
        with started as process, settings.open("w"):  # it has come as far as to read them
            process.send_signal(number)
            assert process.wait(60) == -number

    @pytest.mark.parametrize("number", HARMLESS)
    def test_one_that_will_serve_cannot(self, number: int, tmp_path: Path) -> None:
        """It says what is wrong with its settings, which it reads after the signal."""
        settings = tmp_path / "settings.yaml"
        os.mkfifo(settings)
        command = [sys.executable, "-m", "rerank_proxy", "serve", "--config", str(settings)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            with settings.open("w") as file:
                process.send_signal(number)
                file.write("no_such_setting: 1")
            assert process.stderr is not None
            assert "no_such_setting" in process.stderr.read()
        assert process.returncode == 2


class TestStandardStreams:
    @pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
    def test_what_is_opened_first_does_not_take_their_place(self, closed: tuple[int, ...]) -> None:
        done = run(
            """
            import json, os, socket, subprocess, sys
            kept = os.dup(1)
            inner = '''
            import os, socket, sys
            from rerank_proxy.processes.startup import prepare
            prepare()
            print("to standard error", file=sys.stderr)
            with socket.socket() as first, os.fdopen(int(sys.argv[1]), "w") as out:
                out.write(str(first.fileno() > 2))
            '''
            import textwrap
            close = " ".join(f"{number}>&-" for number in json.loads(sys.argv[1]))
            command = [sys.executable, "-c", textwrap.dedent(inner), str(kept)]
            done = subprocess.run(["sh", "-c", f'exec "$@" {close}', "sh", *command], pass_fds=[kept])
            sys.exit(done.returncode)
            """,
            str(list(closed)),
        )
        assert (done.returncode, done.stdout) == (0, "True"), done.stderr


PARENT = """
    import subprocess, sys
    command = [sys.executable, "-c", sys.argv[1]]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdin.write(b"orders\\n")
    child.stdin.flush()
    child.stdout.readline()
    print(child.pid, flush=True)
    sys.stdin.read()
    """
CHILD = """
import re, signal, sys, threading
{platform}
from rerank_proxy.processes.startup import orders_of_parent
assert orders_of_parent() == b"orders\\n"
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
    signal.signal(number, signal.SIG_IGN)
print("ready", flush=True)
{busy}
"""
ON_ANY = "sys.platform = 'any'"  # without what Linux has of its own


class TestParentIsKilled:
    @pytest.mark.parametrize(
        ("platform", "busy"),
        [
            pytest.param(ON_ANY, "threading.Event().wait()", id="it waits"),
            pytest.param(ON_ANY, "while True: pass", id="it is busy"),
            pytest.param(
                "",
                "re.match('(a+)+b', 'a' * 60)",  # it holds Python's lock for years
                id="native code has Python's lock",
                marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends it then"),
            ),
        ],
    )
    async def test_the_child_ends_at_once(self, platform: str, busy: str) -> None:
        script = CHILD.format(platform=platform, busy=busy)
        parent = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", textwrap.dedent(PARENT), script),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        assert parent.stdout is not None
        pid = int(await parent.stdout.readline())
        assert is_running(pid)
        parent.kill()
        await parent.wait()
        await until_true(lambda: not is_running(pid), "the child's end")

    @pytest.mark.parametrize("given", ["", "half of the ord"])
    def test_before_it_gave_its_orders(self, given: str) -> None:
        imports = "from rerank_proxy.processes.startup import orders_of_parent"
        script = f"{imports}; orders_of_parent(); print('it goes on')"
        done = subprocess.run(
            [sys.executable, "-c", script], input=given, capture_output=True, text=True, check=False, cwd=ROOT
        )
        assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


class TestChild:
    async def test_orders_of_any_size_arrive_and_its_end_is_told(self) -> None:
        """More than a pipe holds, while the loop turns."""
        script = (
            "import sys; from rerank_proxy.processes.startup import orders_of_parent\n"
            "sys.exit(7 if orders_of_parent() == b'x' * 1_000_000 + b'\\n' else 1)"
        )
        child = Child([sys.executable, "-c", script], b"x" * 1_000_000 + b"\n")
        assert await child.wait() == 7
        await child.stop(0)

    async def test_one_that_does_not_read_its_orders(self) -> None:
        assert await Child([sys.executable, "-c", "pass"], b"x" * 1_000_000 + b"\n").wait() == 0

    async def test_one_that_does_not_want_to_end(self) -> None:
        script = "import signal, sys; signal.signal(15, signal.SIG_IGN); sys.stdin.read()"
        child = Child([sys.executable, "-c", script], b"")
        await child.stop(0.01)
        assert await child.wait() in (-signal.SIGKILL, -signal.SIGTERM)
        assert not is_running(child.pid)

    async def test_one_that_cannot_be_started(self) -> None:
        with pytest.raises(FileNotFoundError):
            Child(["/no/such/program"], b"")
