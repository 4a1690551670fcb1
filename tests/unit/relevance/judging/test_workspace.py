"""The directory of a judging: its plan, who gets what, and what is wrong with it in words."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.judging.acts import Act
from rerank_proxy.relevance.judging.grading import Grading
from rerank_proxy.relevance.judging.workspace import Machine, Plan, Workspace, check_name, machine_name
from tests.support.judgings import POOLS, made

PLAN = Plan(index="films", fields=("title",), systems={"bm25": {}}, depth=10, seed=1, queries=2)
MACHINE = Machine(
    endpoint="large",
    service="cohere",
    model="rerank-v3.5",
    fields=("title",),
    prompt=None,
    grading=Grading(way="thresholds", bounds=(1.0, 2.0, 3.0)),
    asked_at="2026-01-01T00:00:00+00:00",
)


def test_a_plan_can_be_changed_until_something_is_pooled(tmp_path: Path) -> None:
    Workspace.made(tmp_path, PLAN)
    Workspace.made(tmp_path, Plan(**{**_values(PLAN), "depth": 20}))
    made(tmp_path)
    with pytest.raises(RelevanceError, match="was made with seed 1 rather than 2"):
        made(tmp_path, seed=2)
    with pytest.raises(RelevanceError, match="was made with other systems"):
        made(tmp_path, systems={"other": {}})
    assert Workspace.opened(tmp_path).plan == PLAN


def _values(plan: Plan) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in plan.__struct_fields__}


def test_queries_are_divided_among_the_judges_of_the_plan(tmp_path: Path) -> None:
    pools = {f"q{number}": ("d1",) for number in range(10)}
    workspace = made(tmp_path, pools, judges=("anna", "ben"), shared=0.4)
    hands = {name: set(workspace.hand(name)) for name in ("anna", "ben")}
    assert hands["anna"] | hands["ben"] == pools.keys()
    assert len(hands["anna"] & hands["ben"]) == 4
    with pytest.raises(RelevanceError, match="divided among anna, ben: carl gets none"):
        workspace.hand("carl")


def test_without_judges_in_the_plan_everyone_gets_all(tmp_path: Path) -> None:
    workspace = made(tmp_path)
    assert set(workspace.hand("anna")) == set(workspace.hand("ben")) == POOLS.keys()


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "anna b", "ä", "a" * 65, "resolved"])
def test_names_that_cannot_stand_in_a_column_are_refused(name: str) -> None:
    with pytest.raises(RelevanceError, match="cannot be the name of a judge"):
        check_name(name)


def test_endpoints_have_names_of_files() -> None:
    assert machine_name(".rerank-v1-elasticsearch") == "rerank-v1-elasticsearch"
    assert machine_name("../../etc/passwd") == "_.._etc_passwd"
    assert machine_name("...") == "endpoint"


def test_other_bounds_make_other_grades_of_the_same_scores(tmp_path: Path) -> None:
    workspace = made(tmp_path)
    with workspace.machine_file("large") as file:
        file.add([Act("q1", "d1", score=2.5), Act("q1", "d2", score=0.5), Act("q1", "d1", score=3.5)])
    workspace.keep_machine("large", MACHINE)
    ((_, grades),) = workspace.machines().values()
    assert grades == {("q1", "d1"): 3, ("q1", "d2"): 0}


def test_scores_of_another_model_are_not_mixed(tmp_path: Path) -> None:
    """Until there are scores, and for other bounds, an endpoint is described anew."""
    workspace = made(tmp_path)
    other = msgspec.structs.replace(MACHINE, model="rerank-v4")
    workspace.keep_machine("large", MACHINE)
    workspace.keep_machine("large", other)
    with workspace.machine_file("large") as file:
        file.add([Act("q1", "d1", score=2.5)])
        with pytest.raises(RelevanceError, match=r"another model before: remove .*/large\.json and"):
            workspace.keep_machine("large", MACHINE)
        bounds = Grading(way="quantiles", bounds=(0.2, 0.4, 0.6))
        workspace.keep_machine("large", msgspec.structs.replace(other, grading=bounds))
    assert workspace.machine("large") == msgspec.structs.replace(other, grading=bounds)


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("judging.json", "{", "judging.json: is damaged"),
        ("judging.json", '{"index": 1}', "judging.json: is damaged"),
        ("persons/anna.jsonl", '{"query":"q1","document":"d1","grade":4}\n', "act 1 has the grade 4"),
        ("pool.jsonl", '{"query":"q1"}\n', "pool.jsonl, line 1"),
        ("pool.jsonl", "", "0 of 2 queries are pooled"),
        ("endpoints/large.json", "[]", "large.json: is damaged"),
    ],
)
def test_damage_is_said_with_the_file(tmp_path: Path, file: str, content: str, why: str) -> None:
    workspace = made(tmp_path)
    workspace.keep_machine("large", MACHINE)
    (tmp_path / "persons").mkdir()
    (tmp_path / file).write_text(content)
    with pytest.raises(RelevanceError, match=why):
        _read(tmp_path)


def _read(path: Path) -> None:
    workspace = Workspace.opened(path)
    workspace.pool()
    workspace.persons()
    workspace.machines()


def test_a_directory_without_a_plan_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(RelevanceError, match="rerank-proxy judge pool"):
        Workspace.opened(tmp_path)
