"""`rerank-proxy judge open` as a process that is killed."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp

from rerank_proxy.relevance.judging.server import SESSION
from tests.support.judgings import made
from tests.support.project import ROOT


@contextmanager
def opened(directory: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command, and give its process and the address that it shows."""
    command = (*("-m", "rerank_proxy", "judge", "open"), str(directory), "--as", "anna")
    process = subprocess.Popen(
        [sys.executable, *command, "--url", "http://127.0.0.1:1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT / "proxy",
    )
    with process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().split()[-1]
        finally:
            process.kill()


async def test_what_was_saved_outlives_a_kill(tmp_path: Path) -> None:
    made(tmp_path)
    progress = []
    for grade in (3, 1):
        with opened(tmp_path) as (process, address):
            url, _, key = address.partition("/#")
            async with aiohttp.ClientSession() as client:
                async with client.post(f"{url}/session", json={"key": key}) as answer:
                    headers = {SESSION: (await answer.json())["session"]}
                async with client.get(f"{url}/pool", headers=headers) as answer:
                    progress += [sum(query["judged"] for query in (await answer.json())["queries"])]
                said = {"query": "q1", "document": f"d{grade}", "grade": grade}
                async with client.put(f"{url}/judgments", json=said, headers=headers) as answer:
                    assert answer.status == 200
                async with client.get(f"{url}/pool/query?id=q1", headers=headers) as answer:
                    assert answer.status == 502, "there is no index"
            process.kill()
    assert progress == [0, 1]


def test_it_ends_when_it_is_told_to(tmp_path: Path) -> None:
    made(tmp_path)
    with opened(tmp_path) as (process, _):
        process.terminate()
        assert process.wait() == 0
