"""Bodies with a query in them: whatever the query, the body keeps its form."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.systems import DEEP, Wanted, depth_of, first_stage, systems_of
from rerank_proxy.relevance.templates import bm25, read_template, reranked, rerankers_in, template_of
from tests.support.examples import examples

MATCH = {"match": {"plot": "{{query}}"}}
STANDARD = {"standard": {"query": MATCH}}
RERANKER = {
    "text_similarity_reranker": {
        "retriever": STANDARD,
        "inference_id": "{{endpoint}}",
        "inference_text": "about {{ query }}",
        "field": "plot",
        "rank_window_size": "{{window}}",
    }
}


@examples(2)
@given(
    query=st.text() | st.sampled_from(['"}}, "size": 0, "x": {{"', "{{query}}", "{{window}}", "\\", "\x00"])
)
def test_a_query_becomes_a_text_and_nothing_else(query: str) -> None:
    template = template_of("mine", RERANKER).with_values("mine", {"window": 50, "endpoint": "e"})
    body = json.loads(json.dumps(template.fill(query)))
    reranker = body["retriever"]["text_similarity_reranker"]
    assert reranker.pop("inference_text") == f"about {query}"
    assert reranker["retriever"]["standard"]["query"]["match"].pop("plot") == query
    assert body == {
        "retriever": {
            "text_similarity_reranker": {
                "retriever": {"standard": {"query": {"match": {}}}},
                "inference_id": "e",
                "field": "plot",
                "rank_window_size": 50,
            }
        }
    }


@pytest.mark.parametrize(
    ("body", "made"),
    [
        (STANDARD, {"retriever": STANDARD}),
        ({"retriever": STANDARD}, {"retriever": STANDARD}),
        ({"query": MATCH}, {"query": MATCH}),
        ({"query": MATCH, "size": 3}, {"query": MATCH, "size": 3}),
    ],
)
def test_a_search_body_or_a_retriever_alone(body: dict[str, Any], made: dict[str, Any]) -> None:
    assert template_of("mine", body).body == made


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.json", "[1]", "must be an object: a search body, or a retriever"),
        ("a.json", '{"query": ', "a.json, line 1: is not JSON"),
        ("a.json", '{"query": {"match_all": {}}}', "has no {{query}} in it, where the query is to stand"),
        (
            "a.json",
            '{"query": {"match": {"{{query}}": "{{qurey}}", "a": "{{query}}"}}}',
            "{{qurey}} is not known",
        ),
        ("a.json", '{"query": {"{{query}}": "{{query}}"}}', "{{query}} stands in place of a name"),
        (
            "a.json",
            '{"query": {"match": {"a": "{{query}}"}}, "size": ' + "9" * 5000 + "}",
            "is not JSON that",
        ),
        ("a.yaml", "[" * 30_000, "levels deep"),
        ("a.yaml", "- " * 30_000, "levels deep"),
        ("a.yaml", "null: '{{query}}'\n'null': 3", "has no {{query}}"),
        ("a.yaml", "query: [", "a.yaml, line 1: is not YAML"),
        ("a.yaml", "a: &x [1]\nquery: {match: {a: '{{query}}', b: *x}}", "holds an alias"),
        ("a.yaml", "query: {match: {a: '{{query}}', b: 2020-01-01}}", "such as a date: put it in quotes"),
        ("a.json", '{"a":' * 500 + '"{{query}}"' + "}" * 500, "levels deep"),
    ],
)
def test_what_is_not_a_template(tmp_path: Path, name: str, content: str, problem: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(RelevanceError) as raised:
        read_template(path)
    assert problem in str(raised.value)
    assert str(path) in str(raised.value)


def test_yaml_and_json_give_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(RERANKER))
    (tmp_path / "a.yaml").write_text(
        "text_similarity_reranker:\n  retriever: {standard: {query: {match: {plot: '{{query}}'}}}}\n"
        "  inference_id: '{{endpoint}}'\n  inference_text: about {{ query }}\n  field: plot\n"
        "  rank_window_size: '{{window}}'\n"
    )
    assert read_template(tmp_path / "a.json") == read_template(tmp_path / "a.yaml")


def test_a_reranker_above_any_retriever() -> None:
    template = reranked(
        bm25("plot"), "mine", endpoint="e", field="plot", window=20, chunk_rescorer={"size": 2}
    )
    (reranker,) = rerankers_in(template.fill("crime"))
    assert reranker["retriever"] == {"standard": {"query": {"match": {"plot": "crime"}}}}
    assert (reranker["rank_window_size"], reranker["chunk_rescorer"]) == (20, {"size": 2})


def test_a_first_stage_has_a_retriever(tmp_path: Path) -> None:
    assert first_stage(None, "plot").body == first_stage("bm25:plot", "title").body == bm25("plot").body
    file = tmp_path / "query.json"
    file.write_text(json.dumps({"query": MATCH}))
    with pytest.raises(RelevanceError, match="a first stage must have a retriever"):
        first_stage(str(file), "plot")


def test_systems_of_a_command_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(RERANKER))
    named = systems_of(Wanted(["bm25:plot", str(file)], ["a=ea", "eb"], "plot", (10, 50)))
    assert [each.name for each in named] == ["bm25", "mine-a@10", "mine-a@50", "mine-eb@10", "mine-eb@50"]
    assert [each.window for each in named] == [None, 10, 50, 10, 50]
    assert named[1].endpoints() == ["ea"]
    plain = systems_of(Wanted(["words=bm25:plot,title"], ["e"], "plot", (10, 50)))
    assert [(each.name, each.group) for each in plain] == [("words", "words"), ("e@10", "e"), ("e@50", "e")]
    assert [each.name for each in systems_of(Wanted([], ["e"], "plot"))] == ["e"]


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        (Wanted([]), "nothing to compare: name systems by --system, or endpoints by --endpoint"),
        (Wanted(["bm25"]), "in which field? Give bm25:FIELD, or --field"),
        (Wanted([], ["e"]), "which field is an endpoint to read? Give --field"),
        (Wanted(["bm25:a", "bm25:b"]), "two systems are called bm25"),
        (Wanted(["elser"]), "is neither bm25:FIELD nor a file"),
        (Wanted(["a\x1b[2J=bm25:a"]), r"'a\x1b[2J' cannot be shown as a name"),
        (Wanted(["=x"]), "expected NAME=SYSTEM"),
        (Wanted(["bm25:a,,b"]), "expected the name of a field"),
        (Wanted(["bm25:a"], [], "a", tuple(range(1, 200))), None),
        (Wanted([], ["e"], "a", tuple(range(1, 200))), "199 systems are more than 100"),
    ],
)
def test_what_cannot_be_compared(wanted: Wanted, problem: str | None) -> None:
    if problem is None:
        assert len(systems_of(wanted)) == 1
        return
    with pytest.raises(RelevanceError) as raised:
        systems_of(wanted)
    assert problem in str(raised.value)


def test_no_more_hits_are_asked_for_than_a_window_has() -> None:
    (plain, small, large) = systems_of(Wanted(["bm25:plot"], ["e"], "plot", (5, 50)))
    assert [each.body("q", 10)["size"] for each in (plain, small, large)] == [10, 5, 10]
    assert plain.body("q", 10)["_source"] is False
    assert depth_of(["nDCG@10", "R@100"]) == 100
    assert depth_of(["P@5"]) == 10


@pytest.mark.parametrize("measure", ["AP", "RR", "Bpref", "IPrec@0.1"])
def test_a_measure_without_a_cutoff_is_of_long_lists(measure: str) -> None:
    """Of the first ten hits it would be another measure under its name."""
    assert depth_of(["nDCG@10", measure]) == DEEP


@pytest.mark.parametrize("tag", ["{{{query}}}", "{{#toJson}}query{{/toJson}}", "{{^size}}"])
def test_what_a_search_template_may_hold_besides_is_refused(tag: str) -> None:
    """It would stay in the text of the query."""
    with pytest.raises(RelevanceError, match="without any other marks"):
        template_of("mine", {"query": {"match": {"plot": f"{{{{query}}}} {tag}"}}})


def test_hits_are_measured_from_the_first() -> None:
    body = {"query": {"match": {"plot": "{{query}}"}}, "size": 5, "from": 10}
    with pytest.raises(RelevanceError, match='leave out "from"'):
        template_of("mine", body)
    assert template_of("mine", {**body, "from": 0}).body["size"] == 5
