"""The loss follows from the judgments: an order to be learned, or pairs."""

from collections.abc import Sequence

import pytest

from rerank_proxy.relevance.training.losses import choose_loss


@pytest.mark.parametrize(
    ("grades", "name"),
    [
        ([[1, 2], [1]], "lambda"),
        ([[1] * 40, [1] * 30], "lambda"),
        ([[1], [1], [1, 1]], "bce"),
        ([[3], [3]], "bce"),
        ([[2], [1]], "bce"),
        ([], "bce"),
    ],
)
def test_by_the_judgments(grades: Sequence[Sequence[int]], name: str) -> None:
    assert choose_loss("auto", grades).name == name


def test_a_wish_is_met() -> None:
    assert choose_loss("bce", [[1, 2], [3, 1]]).name == "bce"
