"""`rerank-proxy judge`: what it prints and writes once there are judgments, and what it refuses."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rerank_proxy.cli import main
from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.formats.reading import read_judgments, read_queries
from rerank_proxy.relevance.judging.acts import Act
from rerank_proxy.relevance.judging.grading import Grading
from rerank_proxy.relevance.judging.provenance import models_of, place_of
from rerank_proxy.relevance.judging.workspace import SCALE, Machine, Workspace
from tests.support.judgings import made


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["judge", *map(str, arguments)])


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = made(tmp_path / "judging")
    at = "2026-01-02T03:04:05+00:00"
    with workspace.person_file("anna") as anna, workspace.person_file("ben") as ben:
        anna.add([Act("q1", "d1", grade=3, at=at), Act("q1", "d2", grade=0), Act("q2", "d4", unsure=True)])
        ben.add([Act("q1", "d1", grade=3), Act("q1", "d2", grade=2, at=at)])
    with workspace.machine_file("large") as file:
        file.add([Act("q1", "d1", score=2.0), Act("q1", "d3", score=-1.0), Act("q2", "d2", score=4.0)])
    machine = Machine(
        endpoint=".large",
        service="cohere",
        model="rerank-v3.5",
        fields=("title",),
        prompt=None,
        grading=Grading(way="thresholds", bounds=(0.0, 1.0, 3.0)),
        asked_at=at,
    )
    workspace.keep_machine("large", machine)
    return workspace


def test_qrels_hold_what_persons_agree_on(workspace: Workspace, tmp_path: Path) -> None:
    out = tmp_path / "qrels.txt"
    result = run("write", workspace.path, out)
    assert result.exit_code == 0, result.output
    assert out.read_text() == "q1 anna+ben d1 3\n"
    assert "1 of grade 3; 4 of the pool are not judged" in result.output
    assert "persons differ about 1" in result.output
    told = json.loads(place_of(out).read_text())
    assert (told["unjudged"], told["without_decision"], told["unsure"]) == (4, 1, 1)
    assert [each["name"] for each in told["judges"]] == ["anna", "ben"]
    assert told["judges"][0]["from"] == "2026-01-02T03:04:05+00:00"
    assert told["agreement"][0]["documents"] == 2
    assert told["scale"]["3"] == "is what was looked for"


def test_decisions_and_rules_decide(workspace: Workspace, tmp_path: Path) -> None:
    out = tmp_path / "qrels.txt"
    assert run("write", workspace.path, out, "--undecided", "lower").exit_code == 0
    assert out.read_text() == "q1 anna+ben d1 3\nq1 anna d2 0\n"
    with workspace.resolved_file() as file:
        file.add([Act("q1", "d2", grade=1, by="ben")])
    assert run("write", workspace.path, out).exit_code == 0
    assert out.read_text() == "q1 anna+ben d1 3\nq1 resolved d2 1\n"
    assert run("write", workspace.path, out, "--from", "anna").exit_code == 0
    assert out.read_text() == "q1 anna d1 3\nq1 anna d2 0\n"


@pytest.mark.parametrize("name", ["large", ".large", "endpoint:.large"])
def test_an_endpoint_is_marked_and_only_fills_what_no_person_has_read(
    workspace: Workspace, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "qrels.txt"
    result = run("write", workspace.path, out, "--from", "anna", "--from", name)
    assert out.read_text().splitlines() == [
        "q1 anna d1 3",
        "q1 anna d2 0",
        "q1 endpoint:large d3 0",
        "q2 endpoint:large d2 3",
    ]
    assert "2 are by .large: not for evaluating rerank-v3.5" in result.output
    (_, machine) = json.loads(place_of(out).read_text())["judges"]
    assert machine["scores_became_grades_by"] == {"way": "thresholds", "bounds": [0.0, 1.0, 3.0]}
    assert (machine["grades"], machine["endpoint"], machine["model"]) == (2, ".large", "rerank-v3.5")
    assert models_of(out) == [".large", "rerank-v3.5"]
    run("write", workspace.path, out, "--from", "anna")
    assert models_of(out) == models_of(tmp_path / "of-others.txt") == []
    place_of(out).write_text("{}")
    with pytest.raises(RelevanceError, match=r"qrels\.txt\.judged\.json: is damaged"):
        models_of(out)


@pytest.mark.parametrize("suffix", ["txt", "tsv", "jsonl"])
def test_evaluate_reads_what_is_written(workspace: Workspace, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"judgments.{suffix}"
    assert run("write", workspace.path, out, "--from", "ben").exit_code == 0
    assert read_judgments(out) == {"q1": {"d1": 3, "d2": 2}}
    if suffix == "jsonl":
        assert {query.text for query in read_queries(out).values()} == {"the query q1"}


def test_agreement_compares_persons_and_endpoints(workspace: Workspace) -> None:
    lines = run("agreement", workspace.path).output.splitlines()
    assert lines[0].split() == ["between", "documents", "equal", "kappa", "linear", "quadratic", "relevant"]
    assert [line.split("  ")[0] for line in lines[1:]] == [
        "anna and ben",
        "anna and endpoint:large",
        "ben and endpoint:large",
    ]
    found = json.loads(run("agreement", workspace.path, "--json").output)
    assert (found[0]["documents"], found[0]["equal"]) == (2, 0.5)
    assert found[0]["table"][3][3] == 1


def test_a_scale_may_be_longer_and_has_no_gap(tmp_path: Path) -> None:
    """The plan is there before the first search, which nothing answers here."""
    queries = tmp_path / "queries.tsv"
    queries.write_text("1\tcrime\n")
    pool = (
        "pool",
        tmp_path / "judging",
        queries,
        "--index",
        "films",
        "--show",
        "title",
        "--system",
        "bm25:plot",
    )
    for grade in ("5=perfect", "x=perfect", "-1=harmful"):
        refused = run(*pool, "--grade", grade)
        assert (refused.exit_code, refused.output) == (
            1,
            "rerank-proxy: --grade: grades are numbers from 0 to 9, without a gap\n",
        )
    run(*pool, "--grade", "4=perfect", "--grade", "0=no", "--url", "http://127.0.0.1:1")
    assert Workspace.opened(tmp_path / "judging").plan.scale == ("no", *SCALE[1:], "perfect")


@pytest.mark.parametrize(
    ("arguments", "status", "why"),
    [
        (("write", "{}", "out", "--from", "carl"), 1, "carl has not judged in .*anna, ben, endpoint:large"),
        (("write", "{}/none", "out"), 1, "judging.json: is missing; make it with: rerank-proxy judge pool"),
        (("open", "{}", "--as", "a b"), 1, "cannot be the name of a judge"),
        (("ask", "{}", "--by", "x"), 2, "how do scores become grades"),
        (("ask", "{}", "--by", "x", "--thresholds", "1", "--quantiles", "1"), 2, "how do scores become"),
        (("ask", "{}", "--by", "x", "--thresholds", "1,2"), 1, "expected 3 numbers"),
        (("ask", "{}", "--by", "x", "--thresholds", "3,2,1"), 1, "do not ascend"),
        (("ask", "{}", "--by", "x", "--quantiles", "a,b,c"), 1, "expected numbers"),
        (("ask", "{}", "--by", "x", "--chat", "--url", "http://127.0.0.1:1"), 1, "cannot be reached"),
        (("ask", "{}", "--by", "x", "--prompt", "{}/judging.json"), 1, r"the prompt has no {{query}}"),
        (("agreement", "{}/none"), 1, "is missing"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    workspace: Workspace, arguments: tuple[str, ...], status: int, why: str
) -> None:
    result = run(*(each.replace("{}", str(workspace.path)) for each in arguments))
    assert result.exit_code == status
    (line,) = result.output.splitlines()
    assert re.search(why, line)
