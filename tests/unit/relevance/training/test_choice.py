"""The recipe follows from the amount of data, and too little is refused with what is missing."""

from typing import Any

import pytest

from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.training.choice import LEAST_QUERIES, Amount, choose


def amount(queries: int, **given: Any) -> Amount:
    values = {"pairs": 7 * queries, "scored": 0, "base": "bi-encoder", "accelerated": False, **given}
    return Amount(queries=queries, **values)


@pytest.mark.parametrize(
    ("given", "recipe"),
    [
        (amount(20), "fusion"),
        (amount(99), "fusion"),
        (amount(150), "head"),
        (amount(150, base=None), "fusion"),
        (amount(150, titles=1400), "bi-encoder"),
        (amount(99, titles=1400), "fusion"),
        (amount(1000), "bi-encoder"),
        (amount(1000, accelerated=True), "cross-encoder"),
        (amount(1000, accelerated=True, pairs=2000), "bi-encoder"),
        (amount(150, accelerated=True, scored=7500), "cross-encoder"),
        (amount(150, base="cross-encoder"), "fusion"),
        (amount(1000, base="cross-encoder"), "cross-encoder"),
    ],
)
def test_by_the_amount(given: Amount, recipe: str) -> None:
    choice = choose("auto", given)
    assert choice.recipe == recipe
    assert str(given.queries) in choice.reason


def test_too_few_queries_are_told_how_many_are_missing() -> None:
    with pytest.raises(RelevanceError, match="judge 3 more"):
        choose("auto", amount(LEAST_QUERIES - 3))


@pytest.mark.parametrize(
    ("wanted", "given", "words"),
    [
        ("bi-encoder", amount(30), "judge 10 more, or use --recipe fusion"),
        ("head", amount(150, base=None), "name one with --base"),
        ("head", amount(150, base="cross-encoder"), "use --recipe cross-encoder"),
        ("cross-encoder", amount(150, base=None), "name one with --base"),
    ],
)
def test_a_wish_that_cannot_be_met(wanted: Any, given: Amount, words: str) -> None:
    with pytest.raises(RelevanceError, match=words):
        choose(wanted, given)


def test_a_wish_is_met() -> None:
    assert choose("cross-encoder", amount(150)).recipe == "cross-encoder"
