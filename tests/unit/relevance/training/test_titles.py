"""Titles become queries, but for those that cannot be learned from."""

from dataclasses import replace

from rerank_proxy.relevance.training.titles import queries_of, with_titles
from tests.support.trainings import material

MADE = material(16)


def test_titles_that_nothing_can_be_learned_from_are_left_out() -> None:
    titles = {
        "q0-0": MADE.queries["q15"].text.upper(),
        "q0-1": "a title",
        "q0-2": MADE.texts["q0-2"],
        "q0-3": "word " * 100,
        "absent": "without a text",
    }
    assert with_titles(replace(MADE, titles=titles), 10, 0).titles == {"q0-1": "a title"}


def test_as_many_as_are_wanted_are_drawn_by_the_seed() -> None:
    made = replace(MADE, titles={name: f"title of {name}" for name in MADE.texts})
    some = [with_titles(made, 5, seed).titles for seed in (0, 0, 1)]
    assert [len(each) for each in some] == [5, 5, 5]
    assert some[0] == some[1] != some[2]


def test_a_title_that_documents_share_is_asked_once() -> None:
    made = replace(MADE, titles={"q0-0": "One title", "q0-1": "one  title", "q0-2": "another"})
    assert {name: query.text for name, query in queries_of(made).items()} == {
        "q0-0": "One title",
        "q0-2": "another",
    }
