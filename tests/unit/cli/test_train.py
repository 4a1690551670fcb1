"""`rerank-proxy train`: what is wrong is said in a line, before anything is asked."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rerank_proxy.cli import main

JUDGED = '{"query": "a murderer", "grades": {"0": 2}}\n{"query": "a dog", "grades": {"4": 1}}\n'


def run(*arguments: str) -> Result:
    fixed = ["--index", "films", "--field", "plot", "--url", "http://127.0.0.1:1"]
    return CliRunner().invoke(main, ["train", *fixed, *arguments])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --judgments or --clicks"),
        (["--teacher", "large"], "--teacher without judgments takes --queries"),
        (["--judgments", "/absent"], "/absent: cannot be read"),
        (["--judgments", "{}", "--base", "/absent"], "is not a directory with a model"),
        (["--judgments", "{}", "--first-stage", "/absent.json"], "/absent.json: cannot be read"),
        (["--judgments", "{}", "--recipe", "magic"], "'magic' is not one of 'auto'"),
        (["--judgments", "{}", "--user", "me:secret"], "every user of this machine can see"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(tmp_path: Path, arguments: Sequence[str], message: str) -> None:
    judgments = tmp_path / "judgments.jsonl"
    judgments.write_text(JUDGED)
    result = run("--out", str(tmp_path / "out"), *(each.replace("{}", str(judgments)) for each in arguments))
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "extra"), [(["--base", "{}"], "train"), (["--endpoint", "x"], "evaluate")]
)
def test_the_extra_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: Sequence[str], extra: str
) -> None:
    """One installation is enough: the extra that trains has what measures, too."""
    judgments = tmp_path / "judgments.jsonl"
    judgments.write_text(JUDGED)
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    result = run(
        *("--out", str(tmp_path / "out"), "--judgments", str(judgments)),
        *(each.replace("{}", str(tmp_path)) for each in arguments),
    )
    assert result.exit_code == 2
    assert f"pip install 'rerank-proxy[{extra}]'" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_proxy_that_is_not_there(tmp_path: Path) -> None:
    judgments = tmp_path / "judgments.jsonl"
    judgments.write_text(JUDGED)
    result = run("--out", str(tmp_path / "out"), "--judgments", str(judgments), "--endpoint", "mine")
    assert result.exit_code == 1
    assert "cannot be reached" in result.stderr


def test_what_is_there_is_not_replaced(tmp_path: Path) -> None:
    judgments = tmp_path / "judgments.jsonl"
    judgments.write_text(JUDGED)
    result = run("--out", str(tmp_path), "--judgments", str(judgments))
    assert result.exit_code == 2
    assert "is not empty" in result.stderr
