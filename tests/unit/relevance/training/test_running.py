"""A fusion is trained, measured with queries apart, and called better only if it is."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.judgments import Query
from rerank_proxy.relevance.templates import read_template
from rerank_proxy.relevance.training.assessing import BASE, FIRST, FUSED, TRAINED, assess
from rerank_proxy.relevance.training.material import Material, reordered
from rerank_proxy.relevance.training.results import check_free, write
from rerank_proxy.relevance.training.running import Outcome, judged_by_teacher, run
from tests.support.quiet import quiet
from tests.support.trainings import material, names, plan, teacher_of


def trained(made: Material, work: Path) -> Outcome:
    said: list[str] = []
    outcome = run(plan(work, endpoint="given"), made, quiet, said.append)
    assert said[0].startswith("recipe fusion: ")
    return outcome


def with_base(made: Material, *, helpful: bool) -> Material:
    """Give the documents scores that know some of what is right, or nothing."""
    scores = {
        query: {
            name: score * (place % 2) if helpful else 0.0 for place, (name, score) in enumerate(of.items())
        }
        for query, of in teacher_of(made).items()
    }
    return Material(made.queries, made.judgments, made.first, made.texts, scores)


def test_every_query_is_measured_once_with_a_model_of_others(tmp_path: Path) -> None:
    outcome = trained(with_base(material(30), helpful=True), tmp_path)
    assert names([part.held_out for part in outcome.parts]) == sorted(outcome.material.queries)
    assert outcome.assessment.queries == 30
    assert not any({*part.train} & {*part.held_out} for part in outcome.parts)


def test_what_the_first_stage_does_not_find_is_not_measured(tmp_path: Path) -> None:
    made = with_base(material(30), helpful=False)
    beyond = {query: {**of, "beyond": 9.0} for query, of in made.base.items()}
    judgments = {query: {**of, "beyond": 3} for query, of in made.judgments.items()}
    texts = {**made.texts, "beyond": "found for no query"}
    outcome = trained(Material(made.queries, judgments, made.first, texts, beyond), tmp_path)
    for figures in outcome.assessment.figures.values():
        assert figures["nDCG@10"].mean < 0.6


def test_queries_that_nothing_is_found_for_are_left_out_and_counted(tmp_path: Path) -> None:
    made = with_base(material(30), helpful=True)
    first = {query: [] if query in list(made.queries)[:2] else hits for query, hits in made.first.items()}
    outcome = trained(replace(made, first=first), tmp_path)
    assert outcome.assessment.queries == 28
    write(outcome, tmp_path / "out", by_teacher=False)
    assert "2 further queries were left out" in (tmp_path / "out" / "README.md").read_text()


def test_what_is_not_better_is_not_called_so(tmp_path: Path) -> None:
    outcome = trained(with_base(material(30), helpful=False), tmp_path)
    assert not outcome.assessment.better
    figures = write(outcome, tmp_path / "out", by_teacher=False)
    assert figures["better"] is False
    assert "Not shown to be better" in (tmp_path / "out" / "README.md").read_text()
    assert "do not use it" in outcome.assessment.sentence()


def test_what_is_written_can_be_searched_with(tmp_path: Path) -> None:
    outcome = trained(with_base(material(30), helpful=True), tmp_path)
    write(outcome, tmp_path / "out", by_teacher=False)
    template = read_template(tmp_path / "out" / "retriever.json")
    assert "given" in json.dumps(template.fill("a query"))
    card = (tmp_path / "out" / "README.md").read_text()
    assert "30 queries with 60 relevant documents" in card
    assert "the model of the inference endpoint `given`" in card
    assert "seed is 0" in card


def test_the_same_input_gives_the_same_figures(tmp_path: Path) -> None:
    made = with_base(material(24), helpful=True)
    assert trained(made, tmp_path).assessment == trained(made, tmp_path).assessment


def test_too_little_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RelevanceError, match="judge 12 more"):
        run(plan(tmp_path, endpoint="given"), material(8), quiet, print)
    with pytest.raises(RelevanceError, match="name it with --endpoint or --base"):
        run(plan(tmp_path), material(24), quiet, print)


def test_queries_with_the_same_text_count_as_one(tmp_path: Path) -> None:
    made = material(30)
    same = {name: Query(name, f"query {number % 3}") for number, name in enumerate(made.queries)}
    with pytest.raises(RelevanceError, match="judge 17 more"):
        run(plan(tmp_path, endpoint="given"), replace(made, queries=same), quiet, print)


def test_titles_that_are_not_learned_from_are_told(tmp_path: Path) -> None:
    made = replace(with_base(material(24), helpful=True), titles={"q0-0": "a title"})
    said: list[str] = []
    run(plan(tmp_path, endpoint="given"), made, quiet, said.append)
    assert any("titles are not learned from" in line for line in said)


def test_a_teachers_order_becomes_grades() -> None:
    made = material(3)
    taught = Material(made.queries, {}, made.first, made.texts, teacher=teacher_of(made))
    for query, grades in judged_by_teacher(taught).items():
        assert {*made.judgments[query]} <= {*grades}
        best = max(grades, key=lambda name: grades[name])
        assert made.judgments[query][best] == 2


def test_what_is_in_the_way_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(RelevanceError, match="is not empty"):
        check_free(tmp_path, overwrite=False)
    with pytest.raises(RelevanceError, match="something else than a model"):
        check_free(tmp_path, overwrite=True)
    (tmp_path / "evaluation.json").write_text("{}")
    check_free(tmp_path, overwrite=True)


def test_a_model_is_replaced_where_a_link_leads(tmp_path: Path) -> None:
    outcome = trained(with_base(material(30), helpful=True), tmp_path)
    (tmp_path / "link").symlink_to("there")
    for _ in "ab":
        write(outcome, tmp_path / "link", by_teacher=False)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "README.md").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "there"]


def test_a_place_that_nothing_can_be_written_to_is_told_before_the_work() -> None:
    with pytest.raises(RelevanceError, match="is a mount"):
        check_free(Path("/proc"), overwrite=True)
    with pytest.raises(RelevanceError, match="/dev/null"):
        check_free(Path("/dev/null/model"), overwrite=False)


def test_a_gain_that_a_fusion_has_too_is_said_so() -> None:
    made = material(30)
    right = {query: reordered(made.window(query), of) for query, of in teacher_of(made).items()}
    runs = {FIRST: made.first, BASE: made.first, FUSED: right, TRAINED: right}
    assessment = assess(made.judgments, runs, 0)
    assert assessment.better
    assert "not shown to be better than a fusion" in assessment.sentence()
    assert assessment.document()["comparisons"][FUSED]["difference"] == 0
    without = assess(made.judgments, {name: run for name, run in runs.items() if name != FUSED}, 0)
    assert "fusion" not in without.sentence()
