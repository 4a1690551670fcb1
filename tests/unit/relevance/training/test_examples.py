"""What trainers get: relevant texts and hard negatives, titles, margins in the scale of the model."""

from dataclasses import replace

import numpy as np

from rerank_proxy.relevance.training.examples import contrasts, joined, lists, margins, pairs, titled
from tests.support.trainings import material, teacher_of

MADE = material(16)
TRAINED = [*MADE.queries][:8]


def test_relevant_texts_are_never_negatives() -> None:
    rows = contrasts(MADE, TRAINED, teacher_of(MADE), 2, 0)
    assert len(rows["anchor"]) == 2 * len(TRAINED)
    by_text = {query.text: name for name, query in MADE.queries.items()}
    assert {by_text[text] for text in rows["anchor"]} == {*TRAINED}
    for anchor, positive, *negatives in zip(*rows.values(), strict=True):
        right = {MADE.texts[name] for name in MADE.relevant(by_text[anchor])}
        assert positive in right
        assert not {*negatives} & right


def test_titles_are_queries_for_their_texts() -> None:
    rows = titled(replace(MADE, titles={"q0-1": "a title"}))
    assert rows == {"anchor": ["a title"], "positive": [MADE.texts["q0-1"]]}


def test_margins_have_the_spread_of_the_model() -> None:
    taught = replace(MADE, teacher=teacher_of(MADE))
    own = {query: {name: score / 100 for name, score in of.items()} for query, of in taught.teacher.items()}
    small, large = margins(taught, TRAINED, own, 0), margins(taught, TRAINED, None, 0)
    assert min(small["label"]) >= 0
    np.testing.assert_allclose(max(small["label"]), 0.1, rtol=1e-6)
    assert max(large["label"]) > 1


def test_lists_have_relevant_texts_and_others() -> None:
    rows = lists(MADE, TRAINED, teacher_of(MADE), 0)
    for labels in rows["label"]:
        assert max(labels) > 0
        assert min(labels) == 0


def test_pairs_are_the_texts_of_lists_each_once() -> None:
    of_lists = lists(MADE, TRAINED, teacher_of(MADE), 0)
    twice = joined(of_lists, of_lists)
    rows = pairs(twice)
    assert rows == pairs(of_lists)
    assert len({*zip(rows["query"], rows["document"], strict=True)}) == len(rows["label"])
    right = {
        (MADE.queries[query].text, MADE.texts[name]) for query in TRAINED for name in MADE.relevant(query)
    }
    for query, document, label in zip(*rows.values(), strict=True):
        assert label == float((query, document) in right)
