"""The supervisor as a real process, with a stand-in for the application's."""

import asyncio
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest

from rerank_proxy.processes.kept import restart_delay_s
from rerank_proxy.processes.supervisor import Supervisor
from rerank_proxy.settings import InvalidSettingsError, load
from tests.support.processes import is_running, state
from tests.support.raw_http import OK, TIMEOUT_S, Wire, answering, connect, raw_server
from tests.support.waiting import until_true
from tests.unit.processes.conftest import (
    GET,
    SEARCH,
    SLOW_SEARCH,
    Supervise,
    Supervised,
    end,
    refused,
    until_not_ready,
)


def two_free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


async def test_everything_is_served(supervise: Supervise) -> None:
    proxy = await supervise()
    assert (await proxy.ask(GET)).raw == OK
    app = await proxy.app()
    assert (await proxy.ask(SEARCH)).body == b"reranked"
    assert await proxy.probe("/live") == (200, {"live": True})
    status, body = await proxy.probe("/ready")
    assert (status, body["ready"], body["models"]["minilm"]["state"]) == (200, True, "ready")
    metrics = await proxy.metrics()
    assert 'rerank_proxy_requests_total{code="200",kind="rerank"} 1.0' in metrics
    assert "rerank_proxy_app_up 1.0" in metrics
    assert "rerank_proxy_ready 1.0" in metrics
    assert "app_double 1.0" in metrics
    directory = Path(app["socket"]).parent
    assert directory.parent == proxy.directory / "tmp"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert app["settings"]["upstream"]["url"].startswith("http://127.0.0.1:")

    proxy.process.terminate()
    assert await proxy.exit_status() == 0
    assert not is_running(app["pid"])
    assert list((proxy.directory / "tmp").iterdir()) == []


async def test_application_that_is_killed_is_started_again(supervise: Supervise) -> None:
    proxy = await supervise()
    first = await proxy.app()
    os.kill(first["pid"], signal.SIGKILL)
    assert (await proxy.ask(GET)).raw == OK
    second = await proxy.app(other_than=first["pid"])
    assert (await proxy.ask(SEARCH)).body == b"reranked"
    assert "rerank_proxy_app_restarts_total 1.0" in await proxy.metrics()
    proxy.process.terminate()
    assert await proxy.exit_status() == 0
    assert not is_running(second["pid"])
    await proxy.logged("was killed by SIGKILL")


async def test_plain_traffic_needs_no_application(supervise: Supervise, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    proxy = await supervise()
    assert (await proxy.ask(GET)).raw == OK
    assert (await proxy.ask(SEARCH)).status == 503
    assert await proxy.probe("/live") == (200, {"live": True})
    reason = "the reranking process is starting or restarting"
    status, body = await proxy.probe("/ready")
    (node,) = body.pop("upstream")
    assert (status, body) == (503, {"ready": False, "reason": reason, "models": {}})
    assert (node["up"], node["failures"]) == (True, 0)
    assert "tried" not in node
    assert "rerank_proxy_ready 0.0" in await proxy.metrics()
    await proxy.logged("ended with status 3")
    (tmp_path / "broken").unlink()
    await proxy.app()
    assert (await proxy.probe("/ready"))[0] == 200
    proxy.process.terminate()
    assert await proxy.exit_status() == 0


async def test_a_dead_application_leaves_no_sockets(supervise: Supervise, tmp_path: Path) -> None:
    proxy = await supervise()
    app = await proxy.app()
    (tmp_path / "broken").touch()
    os.kill(app["pid"], signal.SIGKILL)
    await proxy.logged("ended with status 3")
    directory = tmp_path / "tmp" / Path(app["socket"]).parent.name
    assert list(directory.iterdir()) == []


async def test_models_that_are_not_ready_are_named(supervise: Supervise, tmp_path: Path) -> None:
    models = {
        "a": {"state": "ready", "detail": ""},
        "b": {"state": "failed", "detail": "no such directory"},
        "c": {"state": "loading", "detail": None},
    }
    (tmp_path / "ready.json").write_text(json.dumps({"ready": False, "models": models}))
    proxy = await supervise()
    await proxy.app()
    status, body = await proxy.probe("/ready")
    assert status == 503
    assert body["reason"] == "model [b] failed: no such directory; model [c] is loading"
    assert body["models"]["b"] == {"state": "failed", "detail": "no such directory"}


async def test_application_ends_when_the_supervisor_is_killed(supervise: Supervise) -> None:
    proxy = await supervise()
    app = await proxy.app()
    proxy.process.kill()
    await proxy.exit_status()
    await until_true(lambda: not is_running(app["pid"]), "the application's end")


async def test_what_a_killed_supervisor_leaves_is_removed_by_the_next_start(supervise: Supervise) -> None:
    killed = await supervise()
    left = Path((await killed.app())["socket"]).parent
    killed.process.kill()
    await killed.exit_status()
    assert left.exists()
    living = await supervise()
    own = Path((await living.app(other_than=(await killed.app())["pid"]))["socket"]).parent
    assert list(own.parent.iterdir()) == [own]
    await supervise()
    assert own.exists()
    assert (await living.ask(SEARCH)).body == b"reranked"


OTHERS: Final = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class TestSignals:
    async def test_those_that_ask_for_something_else_end_nothing(self, supervise: Supervise) -> None:
        """In all processes, while they serve and while they stop."""
        proxy = await supervise()

        def send() -> None:
            for number in OTHERS:
                os.killpg(proxy.process.pid, number)
                os.kill(app["pid"], number)

        for number in OTHERS:
            os.killpg(proxy.process.pid, number)  # the application is starting
        app = await proxy.app()
        async with connect(proxy.port) as busy:
            await busy.send(SLOW_SEARCH)
            await until_true((proxy.directory / "arrived").exists, "the search")
            send()
            assert (await proxy.ask(GET)).raw == OK
            proxy.process.terminate()
            await until_not_ready(proxy)
            send()
            (proxy.directory / "go").touch()
            assert (await busy.read_message()).body == b"reranked"
        assert await proxy.exit_status() == 0
        assert (await proxy.app())["pid"] == app["pid"]

    async def test_being_stopped_and_continued(self, supervise: Supervise) -> None:
        """As by Ctrl-Z and `fg`."""
        proxy = await supervise()
        app = await proxy.app()
        async with connect(proxy.port) as busy:
            await busy.send(SLOW_SEARCH)
            await until_true((proxy.directory / "arrived").exists, "the search")
            for pid in (proxy.process.pid, app["pid"]):
                os.kill(pid, signal.SIGSTOP)
            await until_true(lambda: state(proxy.process.pid) == state(app["pid"]) == "T", "both to stop")
            async with connect(proxy.port) as other:
                await other.send(GET)
                for pid in (proxy.process.pid, app["pid"]):
                    os.kill(pid, signal.SIGCONT)
                assert (await other.read_message()).raw == OK
            (proxy.directory / "go").touch()
            assert (await busy.read_message()).body == b"reranked"


class TestLogIsLost:
    """The proxy goes on all the same; what starts it cannot read where it listens."""

    def gone(self) -> int:
        reader, writer = os.pipe()
        os.close(reader)
        return writer

    def full(self) -> int:
        """Nothing reads it."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        with suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * 4096)
        os.set_blocking(writer, True)
        self.keep = reader
        return writer

    def full_disk(self) -> int:
        return os.open("/dev/full", os.O_WRONLY)

    @pytest.mark.parametrize("log", [gone, full, full_disk, None])
    async def test_all_is_served(self, tmp_path: Path, log: Callable[["TestLogIsLost"], int] | None) -> None:
        serve, _ = answering(OK)
        stderr = log(self) if log is not None else None
        async with raw_server(serve) as upstream:
            ports = two_free_ports()
            addresses = {
                name: f"127.0.0.1:{port}" for name, port in zip(("listen", "admin"), ports, strict=True)
            }
            command = ["-m", "tests.support.supervised"]
            command += [json.dumps({"upstream": upstream.url, **addresses}), str(tmp_path)]
            shell = 'exec "$@"' if log is not None else 'exec "$@" 0<&- 1>&- 2>&-'
            process = await asyncio.create_subprocess_exec(
                *("sh", "-c", shell, "sh", sys.executable, *command), stderr=stderr
            )
            try:
                proxy = Supervised(process, tmp_path, ports)
                first = await proxy.app()
                os.kill(first["pid"], signal.SIGKILL)  # which is logged
                await proxy.app(other_than=first["pid"])
                assert (await proxy.ask(GET)).raw == OK
                assert (await proxy.ask(SEARCH)).body == b"reranked"
                process.terminate()
                assert await proxy.exit_status() == 0
            finally:
                await end(process)


class TestStopping:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    async def test_searches_under_way_finish(self, supervise: Supervise, number: signal.Signals) -> None:
        """Also after Ctrl-C, which the terminal sends to the whole group of processes."""
        proxy = await supervise()
        await proxy.app()
        async with connect(proxy.port) as idle, connect(proxy.port) as busy:
            await busy.send(SLOW_SEARCH)
            await until_true((proxy.directory / "arrived").exists, "the search")
            os.killpg(proxy.process.pid, number)
            assert await idle.read_to_end() == b""
            status, body = await proxy.probe("/ready")
            assert (status, body["reason"]) == (503, "the proxy is stopping")
            with pytest.raises(ConnectionRefusedError):
                await proxy.ask(GET)
            (proxy.directory / "go").touch()
            answer = await busy.read_message()
            assert (answer.body, answer.field("connection")) == (b"reranked", "close")
        assert await proxy.exit_status() == 0

    async def test_new_connections_are_taken_during_the_drain_delay(self, supervise: Supervise) -> None:
        proxy = await supervise({"lifecycle": {"drain_delay_s": 60}})
        await proxy.app()
        proxy.process.terminate()
        await until_not_ready(proxy)
        answer = await proxy.ask(GET)
        assert (answer.body, answer.field("connection")) == (b"ok", "close")
        assert (await proxy.ask(SEARCH)).body == b"reranked"
        proxy.process.terminate()
        assert await proxy.exit_status() == 128 + signal.SIGTERM

    async def test_second_signal_stops_at_once(self, supervise: Supervise) -> None:
        proxy = await supervise()
        app = await proxy.app()
        async with connect(proxy.port) as busy:
            await busy.send(SLOW_SEARCH)
            await until_true((proxy.directory / "arrived").exists, "the search")
            proxy.process.terminate()
            await until_not_ready(proxy)
            proxy.process.send_signal(signal.SIGINT)
            assert await proxy.exit_status() == 128 + signal.SIGINT
            assert await busy.ended()
        assert not is_running(app["pid"])
        assert list((proxy.directory / "tmp").iterdir()) == []

    async def test_what_does_not_finish_in_time_is_cut_off(self, supervise: Supervise) -> None:
        proxy = await supervise({"lifecycle": {"shutdown_timeout_s": 0.1}})
        await proxy.app()
        async with connect(proxy.port) as busy:
            await busy.send(SLOW_SEARCH)
            await until_true((proxy.directory / "arrived").exists, "the search")
            proxy.process.terminate()
            assert await proxy.exit_status() == 0
            assert await busy.ended()
        await proxy.logged("not finished within [lifecycle.shutdown_timeout_s: ")


class TestCannotStart:
    @pytest.mark.parametrize("section", ["listen", "admin"])
    async def test_port_is_taken(self, tmp_path: Path, section: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            log = await refused(tmp_path, {section: address})
        assert log == f"rerank-proxy: cannot listen on {address}: address already in use\n"

    async def test_certificates_cannot_be_read(self) -> None:
        settings = load(None, {"upstream": {"url": "https://es", "ca_certs": "/absent.pem"}}, {})
        with pytest.raises(
            InvalidSettingsError, match=r"upstream\.ca_certs.*/absent\.pem: cannot be read: No"
        ):
            await Supervisor(settings, lambda: settings).run()

    async def test_socket_path_is_too_long(self, tmp_path: Path) -> None:
        deep = tmp_path / ("x" * 100)
        deep.mkdir()
        log = await refused(tmp_path, {}, TMPDIR=str(deep))
        assert re.fullmatch(r"rerank-proxy: the path of a local socket is too long [^\n]+TMPDIR[^\n]+\n", log)
        assert list(deep.iterdir()) == []

    async def test_no_directory_for_sockets(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
        settings = load(None, {}, {})
        assert await Supervisor(settings, lambda: settings).run() == 1
        assert re.fullmatch(
            r"rerank-proxy: no directory for local sockets: [^\n]+\n", capsys.readouterr().err
        )

    async def test_application_that_is_not_a_program(self, tmp_path: Path) -> None:
        """Plain traffic is served all the same."""

        async def serve(wire: Wire) -> None:
            await wire.read_message()
            await wire.send(OK)

        async with raw_server(serve) as upstream:
            values: dict[str, Any] = {
                "listen": "127.0.0.1:0",
                "admin": "127.0.0.1:0",
                "upstream": upstream.url,
            }
            values["edge"] = {"max_connections": 10}  # as any limit of open files allows
            script = (
                "import asyncio, sys; from rerank_proxy.settings import InvalidSettingsError, load\n"
                "from rerank_proxy.processes.supervisor import Supervisor\n"
                f"settings = load(None, {values!r}, {{}})\n"
                "supervisor = Supervisor(settings, lambda: settings, ['/no/such/program'])\n"
                "sys.exit(asyncio.run(supervisor.run()))"
            )
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stderr=PIPE)
            assert process.stderr is not None
            line = (await asyncio.wait_for(process.stderr.readline(), TIMEOUT_S)).decode()
            port = re.search(r"listening on 127\.0\.0\.1:(\d+)", line)
            assert port is not None
            async with connect(int(port[1])) as wire:
                await wire.send(GET)
                assert (await wire.read_message()).raw == OK
            log = (await asyncio.wait_for(process.stderr.readline(), TIMEOUT_S)).decode()
            assert "cannot be started (/no/such/program: No such file or directory)" in log
            with suppress(ProcessLookupError):
                process.terminate()
            assert await asyncio.wait_for(process.wait(), TIMEOUT_S) == 0


def test_restarts_come_ever_slower() -> None:
    delays = [restart_delay_s(deaths) for deaths in range(1, 10)]
    assert delays[0] == 0
    assert delays == sorted(delays)
    assert delays[-1] == restart_delay_s(10_000) == 10


def test_nothing_heavy_is_imported() -> None:
    """The edge must serve before the models' libraries are loaded, and without their memory."""
    script = (
        "import sys, rerank_proxy.processes.supervisor;"
        "heavy = {'torch', 'transformers', 'numpy', 'tokenizers', 'elasticsearch',"
        " 'rerank_proxy.app', 'rerank_proxy.search', 'rerank_proxy.inference', 'rerank_proxy.engine'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
