"""A fusion is trained through the proxy, and the search that it becomes ranks as it was measured."""

import json
from pathlib import Path

from click.testing import CliRunner

from rerank_proxy.cli import main
from rerank_proxy.relevance.templates import read_template
from testbed.proxy import RunningProxy
from tests.live.conftest import ENDPOINT, MakeIndex

FILMS = json.loads((Path(__file__).parents[2] / "demo" / "films.json").read_text(encoding="utf-8"))
WINDOW = 10


def judged(directory: Path) -> Path:
    """Write queries for each film: the beginning and the end of its plot."""
    lines = []
    for number, film in enumerate(FILMS):
        words = film["plot"].split()
        parts = (words[:6], words[-6:])
        lines += [json.dumps({"query": " ".join(part), "grades": {str(number): 1}}) for part in parts]
    path = directory / "judged.jsonl"
    path.write_text("\n".join(lines))
    return path


def test_a_fusion(proxy: RunningProxy, make_index: MakeIndex, tmp_path: Path) -> None:
    index, out = make_index(FILMS), tmp_path / "mine"
    arguments = ["--url", proxy.server.url, "--index", index, "--field", "plot", "--window", str(WINDOW)]
    arguments += ["--judgments", str(judged(tmp_path)), "--endpoint", ENDPOINT, "--out", str(out)]
    result = CliRunner().invoke(main, ["train", *arguments, "--json"])
    assert result.exit_code in (0, 3), result.output
    figures = json.loads(result.stdout)
    assert (result.exit_code == 0) == figures["better"]
    assert figures["recipe"] == "fusion"
    assert not (tmp_path / "mine.work").exists()

    template = read_template(out / "retriever.json")
    found = {}
    for line in judged(tmp_path).read_text().splitlines():
        query = json.loads(line)["query"]
        answer = proxy.server.call("POST", f"/{index}/_search", {**template.fill(query), "size": WINDOW})
        assert "x-rerank" in answer.headers
        found[query] = [hit["_id"] for hit in answer.json()["hits"]["hits"]]
    assert all(found.values())


def test_an_index_without_such_a_field(proxy: RunningProxy, make_index: MakeIndex, tmp_path: Path) -> None:
    arguments = ["--url", proxy.server.url, "--index", make_index(FILMS), "--field", "absent"]
    arguments += ["--judgments", str(judged(tmp_path)), "--endpoint", ENDPOINT, "--out", str(tmp_path / "x")]
    result = CliRunner().invoke(main, ["train", *arguments])
    assert result.exit_code == 1
    assert "has a text in the field [absent]" in result.stderr


def test_a_teacher_takes_the_place_of_judgments(
    proxy: RunningProxy, make_index: MakeIndex, tmp_path: Path
) -> None:
    out = tmp_path / "taught"
    arguments = ["--url", proxy.server.url, "--index", make_index(FILMS), "--field", "plot", "--window", "10"]
    arguments += ["--queries", str(judged(tmp_path)), "--teacher", ENDPOINT, "--endpoint", ENDPOINT]
    result = CliRunner().invoke(main, ["train", *arguments, "--out", str(out), "--json"])
    assert result.exit_code in (0, 3), result.output
    figures = json.loads(result.stdout)
    assert figures["systems"]["before"]["nDCG@10"]["mean"] == 1, "a teacher agrees with itself"
    assert not figures["better"]
    assert "not of people's judgments" in (out / "README.md").read_text()
