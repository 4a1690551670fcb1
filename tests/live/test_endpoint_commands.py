"""`rerank-proxy endpoints` as a person runs it, against the application."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from testbed import RunningElasticsearch
from tests.support.search_app import ENDPOINT, SearchApp, search_app


@pytest.fixture
async def app(elasticsearch: RunningElasticsearch) -> AsyncIterator[SearchApp]:
    async with search_app(elasticsearch.url) as serving:
        yield serving


@dataclass(frozen=True)
class Run:
    """A command that has ended."""

    status: int | None
    out: str
    err: str


async def endpoints(app: SearchApp, *arguments: str, stdin: bytes = b"", **environ: str) -> Run:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rerank_proxy", "endpoints", *arguments, "--url", app.url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "200", **environ},
    )
    out, err = await process.communicate(stdin)
    return Run(process.returncode, out.decode(), err.decode())


async def test_an_endpoints_life(app: SearchApp) -> None:
    made = await endpoints(
        app,
        *("put", "mine", "--service", "elasticsearch", "--setting", "model_id=numbers"),
        *("--setting", "num_threads=1", "--setting", "adaptive_allocations.enabled=true"),
        *("--task-setting", "return_documents=false"),
    )
    assert (made.status, made.err) == (0, "")
    assert json.loads(made.out)["service_settings"] == {
        "num_threads": 1,
        "model_id": "numbers",
        "adaptive_allocations": {"enabled": True},
    }
    listed = await endpoints(app, "list")
    assert listed.status == 0
    rows = [line.split() for line in listed.out.splitlines()]
    assert [row[0] for row in rows if "numbers" in row] == [ENDPOINT, "mine"]
    tried = await endpoints(app, "test", "mine", "--query", "which?", "the text 1", "the text 2")
    assert tried.status == 0
    assert tried.out.index("the text 2") < tried.out.index("the text 1")
    assert "2 texts in " in tried.out
    unused = await endpoints(app, "delete", "mine", "--dry-run")
    assert unused.out == "nothing refers to mine: it can be deleted\n"
    assert (await endpoints(app, "delete", "mine")).out == "deleted mine\n"
    gone = await endpoints(app, "test", "mine", "the text 1")
    assert (gone.status, gone.out) == (1, "")
    assert gone.err == f"rerank-proxy: {app.url} answered 404: Inference endpoint not found [mine]\n"


async def test_a_body_from_a_file_and_a_secret_from_the_environment(app: SearchApp, tmp_path: Path) -> None:
    body = {"service": "elasticsearch", "service_settings": {"num_threads": 1, "num_allocations": 1}}
    file = tmp_path / "body.json"
    file.write_text(json.dumps(body))
    options = ("put", "mine", "--body", str(file), "--secret", "model_id=THE_MODEL")
    made = await endpoints(app, *options, THE_MODEL="numbers")
    assert json.loads(made.out)["service_settings"]["model_id"] == "numbers"
    refused = await endpoints(app, *options)
    assert "there is no environment variable THE_MODEL" in refused.err
    assert refused.status == 2
    piped = await endpoints(app, "put", "other", "--body", "-", stdin=b"{")
    assert piped.status == 2
    assert "is not valid JSON" in piped.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("put", "a", "--setting", "x"), "x: expected NAME=VALUE"),
        (("put", "a", "--setting", "x=1", "--setting", "x.y=2"), "x.y=2: [x] is given as a value already"),
        (("put", "A b", "--service", "elasticsearch"), "Invalid inference_id; 'A b'"),
        (("put", "a", "--service", "nope", "--setting", "x=1"), "Unknown service [nope]"),
        (("delete", "no/where"), "Inference endpoint not found [no/where]"),
    ],
)
async def test_what_is_refused_is_told_in_one_line(
    app: SearchApp, arguments: tuple[str, ...], message: str
) -> None:
    refused = await endpoints(app, *arguments)
    assert refused.status in (1, 2)
    assert message in refused.err
    assert refused.err.count("\n") == 1
    assert refused.out == ""
