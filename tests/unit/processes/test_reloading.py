"""SIGHUP, with settings that have changed."""

import json
import os
import signal
from collections.abc import Mapping
from typing import Any

from tests.support.raw_http import OK, connect
from tests.unit.processes.conftest import GET, Supervise, Supervised


class TestReload:
    """SIGHUP, with settings that have changed."""

    async def reload(self, proxy: Supervised, settings: Mapping[str, Any]) -> None:
        await proxy.app()
        (proxy.directory / "settings.json").write_text(json.dumps(settings))
        proxy.process.send_signal(signal.SIGHUP)

    async def longest_head(self, proxy: Supervised) -> int:
        """Return the status of a request whose head has 2,000 bytes."""
        return (await proxy.ask(GET.replace(b"\r\n\r\n", b"\r\nx: %b\r\n\r\n" % (b"x" * 2000)))).status

    async def test_both_processes_use_new_values(self, supervise: Supervise) -> None:
        proxy = await supervise()
        assert await self.longest_head(proxy) == 200
        changed = {"edge": {"max_head": "1KiB"}, "search": {"deadline_s": 7}, "engine": {"workers": 3}}
        await self.reload(proxy, changed)
        await proxy.logged("SIGHUP: in force from now on: [search.deadline_s], [edge.max_head]")
        await proxy.logged("SIGHUP: changed only when the proxy is started again: [engine.workers]")
        assert await self.longest_head(proxy) == 400
        first = await proxy.app()
        os.kill(first["pid"], signal.SIGKILL)
        started_again = (await proxy.app(other_than=first["pid"]))["settings"]
        told = json.loads((proxy.directory / "reloaded.json").read_text())
        for settings in (told, started_again):
            assert settings["search"]["deadline_s"] == 7
            assert settings["engine"] == first["settings"]["engine"]

    async def test_limit_of_connections(self, supervise: Supervise) -> None:
        proxy = await supervise({"edge": {"max_connections": 1}})
        async with connect(proxy.port) as one, connect(proxy.port) as waiting:
            await one.send(GET)
            assert (await one.read_message()).raw == OK
            await waiting.send(GET)
            await self.reload(proxy, {"edge": {"max_connections": 2}})
            assert (await waiting.read_message()).raw == OK

    async def test_the_admin_port_takes_a_new_token(self, supervise: Supervise) -> None:
        first, second = "first-token-of-the-port", "second-token-of-the-port"
        proxy = await supervise()
        token = proxy.directory / "token"
        token.write_text(first)
        await self.reload(proxy, {"admin": {"listen": "127.0.0.1:0", "token_file": str(token)}})
        await proxy.logged("SIGHUP: in force from now on: [admin.token]")
        assert await self.metrics_status(proxy, second) == 401
        assert await self.metrics_status(proxy, first) == 200
        token.write_text(second)
        proxy.process.send_signal(signal.SIGHUP)
        await proxy.logged("SIGHUP: in force from now on: [admin.token]")
        assert await self.metrics_status(proxy, first) == 401
        assert await self.metrics_status(proxy, second) == 200

    async def metrics_status(self, proxy: Supervised, token: str) -> int:
        asked = f"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
        return (await proxy.ask(asked.encode(), proxy.admin_port)).status

    async def test_settings_that_cannot_be_read_change_nothing(self, supervise: Supervise) -> None:
        proxy = await supervise()
        await self.reload(proxy, {"edge": {"max_head": "1KiB"}, "search": {"deadline_s": 0}})
        await proxy.logged("SIGHUP: nothing is changed: [search.deadline_s]: must be greater than 0, not [0]")
        assert await self.longest_head(proxy) == 200

    async def test_settings_that_cannot_be_served_change_nothing(self, supervise: Supervise) -> None:
        proxy = await supervise()
        (proxy.directory / "refusal.json").write_text('{"faults": ["[endpoints.a]: no such service"]}')
        await self.reload(proxy, {"edge": {"max_head": "1KiB"}})
        await proxy.logged("SIGHUP: nothing is changed: [endpoints.a]: no such service")
        assert await self.longest_head(proxy) == 200

    async def test_application_that_does_not_answer(self, supervise: Supervise) -> None:
        proxy = await supervise()
        app = await proxy.app()
        (proxy.directory / "broken").touch()
        os.kill(app["pid"], signal.SIGKILL)
        await proxy.logged("the reranking process was killed by SIGKILL")
        await self.reload(proxy, {"edge": {"max_head": "1KiB"}})
        await proxy.logged("SIGHUP: nothing is changed, because the reranking process does not answer")
        assert await self.longest_head(proxy) == 200
