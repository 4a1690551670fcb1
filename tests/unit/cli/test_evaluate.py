"""`rerank-proxy evaluate`: what is wrong is said in a line, and what is stopped goes on."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from rerank_proxy.cli import main
from tests.support.judged_index import judged_index
from tests.support.project import ROOT

JUDGED = '{"query": "a murderer", "grades": {"0": 2}}\n{"query": "a dog", "grades": {"4": 1}}\n'


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["evaluate", *arguments])


@pytest.fixture
def judgments(tmp_path: Path) -> Path:
    path = tmp_path / "judgments.jsonl"
    path.write_text(JUDGED)
    return path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --judgments or --clicks"),
        (["--judgments", "{}", "--clicks", "{}"], "give either --judgments or --clicks"),
        (["--judgments", "/absent"], "/absent: cannot be read: No such file or directory"),
        (
            ["--judgments", "{}", "--measure", "ndcg@10"],
            "ndcg@10: is not a measure of ir-measures; try nDCG@10",
        ),
        (["--judgments", "{}", "--system", "x"], "x: is neither bm25:FIELD nor a file"),
        (["--judgments", "{}", "--system", "/absent.json"], "/absent.json: cannot be read"),
        (["--judgments", "{}", "--baseline", "other"], "--baseline other: there are bm25"),
        (["--judgments", "{}", "--index", ".."], "'..' cannot be the name of an index"),
        (["--judgments", "{}", "--window", "0"], "expected numbers from 1 to 10000"),
        (
            ["--judgments", "{}", "--user", "me:secret"],
            "--user: every user of this machine can see",
        ),
    ],
)
def test_what_is_wrong_is_said_in_a_line(judgments: Path, arguments: Sequence[str], message: str) -> None:
    given = [each.replace("{}", str(judgments)) for each in arguments]
    result = run("--index", "films", "--field", "plot", "--url", "http://127.0.0.1:1", *given)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


def test_a_proxy_that_is_not_there(judgments: Path, tmp_path: Path) -> None:
    result = run(
        "--index", "films", "--field", "plot", "--url", "http://127.0.0.1:1", "--judgments", str(judgments),
        "--out", str(tmp_path / "out"),
    )  # fmt: skip
    assert result.exit_code == 1
    assert result.stderr.startswith("rerank-proxy: http://127.0.0.1:1 cannot be reached: ")


async def test_a_system_without_figures_fails_the_command(judgments: Path, tmp_path: Path) -> None:
    """The report is made all the same: what went wrong stands in it."""
    refused = {"error": {"reason": "Inference endpoint not found [e]"}}
    async with judged_index() as served:
        served.answer = lambda _, __, body: (
            web.json_response(refused, status=404)
            if "text_similarity_reranker" in body["retriever"]
            else None
        )
        result = await asyncio.to_thread(
            run, "--index", "films", "--field", "plot", "--url", served.url, "--timed", "0",
            "--judgments", str(judgments), "--endpoint", "e", "--out", str(tmp_path),
        )  # fmt: skip
    assert result.exit_code == 1
    assert "404: Inference endpoint not found [e]" in result.stdout
    assert (tmp_path / "report.html").exists()


async def test_a_run_that_is_interrupted_goes_on_and_reports(judgments: Path, tmp_path: Path) -> None:
    """By SIGINT within a search; the second run asks what is left, and writes the report."""
    out = tmp_path / "out"
    command = [
        sys.executable, "-m", "rerank_proxy", "evaluate", "--index", "films", "--field", "plot",
        "--out", str(out), "--judgments", str(judgments), "--endpoint", "e",
        "--concurrency", "1", "--timed", "0", "--json",
    ]  # fmt: skip
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "proxy")}
    async with judged_index() as served:

        async def started() -> asyncio.subprocess.Process:
            pipe = asyncio.subprocess.PIPE
            return await asyncio.create_subprocess_exec(
                *command, "--url", served.url, stdout=pipe, stderr=pipe, env=environ
            )

        process = await started()
        served.before_each = lambda number: process.send_signal(signal.SIGINT) if number == 2 else None
        _, errors = await process.communicate()
        assert process.returncode == 130
        assert f"stopped; what was answered is in {out}: the same command goes on there" in errors.decode()
        served.before_each = lambda _: None
        process = await started()
        output, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        assert len(served.searches) == 5
    document = json.loads(output)
    assert [each["name"] for each in document["systems"]] == ["bm25", "e"]
    assert document["systems"][1]["means"]["nDCG@10"] == 0.75  # the first and the third place
    assert json.loads((out / "report.json").read_text()) == document
    assert "<h1>" in (out / "report.html").read_text()
    assert (out / "report.md").read_text().startswith("# Does reranking help? films\n")
