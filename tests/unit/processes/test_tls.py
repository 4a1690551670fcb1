"""https on both listeners of a running proxy, and what the command line says of its certificates."""

import asyncio
import re
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from rerank_proxy.cli import main
from rerank_proxy.cli.check import run_checks
from rerank_proxy.settings import load
from tests.edge.samples import GET
from tests.support.raw_http import OK, TIMEOUT_S, answering, connect, raw_server
from tests.support.tls import Authority
from tests.unit.processes.conftest import end, launch


async def test_both_ports_serve_https(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue()
    tls = {"cert": str(issued.path), "key": str(issued.key_path)}
    serve, _ = answering(OK)
    async with raw_server(serve) as upstream:
        settings = {
            "upstream": upstream.url,
            "tls": tls,
            "admin": {"listen": "127.0.0.1:0", "tls": tls},
        }
        (tmp_path / "tmp").mkdir()
        process = await launch(tmp_path, settings, TMPDIR=str(tmp_path / "tmp"))
        try:
            assert process.stderr is not None
            line = (await asyncio.wait_for(process.stderr.readline(), TIMEOUT_S)).decode()
            match = re.match(
                r"rerank-proxy: listening on https://127\.0\.0\.1:(\d+), "
                r"admin on https://127\.0\.0\.1:(\d+), upstream ",
                line,
            )
            assert match is not None, line
            async with connect(int(match[1]), tls=authority.client()) as wire:
                await wire.send(GET)
                assert (await wire.read_message()).raw == OK

            def metrics() -> str:
                url = f"https://127.0.0.1:{match[2]}/metrics"
                with urllib.request.urlopen(url, context=authority.client()) as answer:
                    return str(answer.read().decode())

            text = await asyncio.to_thread(metrics)
            assert 'rerank_proxy_certificate_not_after_seconds{of="listener"}' in text
            assert 'rerank_proxy_certificate_not_after_seconds{of="admin"}' in text
        finally:
            await end(process)


@pytest.mark.parametrize("command", ["serve", "check"])
@pytest.mark.parametrize("section", ["tls", "admin-tls"])
def test_unfit_files_end_with_2_and_one_line(tmp_path: Path, command: str, section: str) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("one").path, authority.issue("two").key_path
    options = [f"--{section}-cert", str(cert), f"--{section}-key", str(key)]
    result = CliRunner().invoke(main, [command, *options])
    setting = section.replace("-", ".")
    assert result.exit_code == 2
    assert result.stderr == (
        f"rerank-proxy: [{setting}.key]: {key}: is not the key of the certificate of [{setting}.cert]\n"
    )


@pytest.mark.parametrize(("ends_days", "outcome"), [(1, "ok      https on "), (-1, "warning [tls.cert]: ")])
async def test_check_tells_of_certificates(tmp_path: Path, ends_days: int, outcome: str) -> None:
    issued = Authority(tmp_path).issue(begins_days=-5, ends_days=ends_days)
    values = {
        "tls": {"cert": str(issued.path), "key": str(issued.key_path)},
        "upstream": "http://127.0.0.1:1",
        "registry": {"store": "none"},
    }
    lines: list[str] = []
    await run_checks(load(None, values, {}), lines.append)
    (line,) = [line for line in lines if line.startswith("tls ")]
    assert line.startswith(f"tls        {outcome}")
    assert str(issued.path) in line
