"""Which loss tunes a cross-encoder with judgments, and why.

`lambda` is LambdaLoss: texts of a query are a list, and what counts is their order by grades. It says nothing
of the level of scores, so two queries' scores cannot be compared. `bce` is binary cross-entropy: each pair of
query and text is an example by itself, relevant or not. Grades are lost, but a score of 0 then means that
both are equally likely: that is what a search with `min_score` needs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

LossName = Literal["lambda", "bce"]
IN_WORDS: Final[Mapping[LossName, str]] = {"lambda": "LambdaLoss", "bce": "binary cross-entropy"}
_FEW: Final = 1.5
"""Relevant documents of a query, on average: below that there is hardly an order among them to be learned."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss, and the reason for it in words for people."""

    name: LossName
    reason: str


def choose_loss(wanted: LossName | Literal["auto"], grades: Sequence[Sequence[int]]) -> Loss:
    """Choose a loss by the judgments.

    Args:
        grades: Those of the relevant documents of each query, all above 0.
    """
    if wanted != "auto":
        return Loss(wanted, "it was asked for")
    if any(len({*of_query}) > 1 for of_query in grades):
        return Loss("lambda", "grades tell good documents from better ones")
    each = sum(map(len, grades)) / max(len(grades), 1)
    if each >= _FEW:
        return Loss("lambda", f"a query has {each:.1f} relevant documents on average: lists to be ordered")
    return Loss(
        "bce",
        f"a query has {each:.1f} relevant documents on average, all of the same grade: pairs to be judged",
    )
