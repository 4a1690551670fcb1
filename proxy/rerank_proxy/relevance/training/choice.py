"""Which recipe fits the amount of data, and why."""

from dataclasses import dataclass
from typing import Final, Literal

from rerank_proxy.relevance.errors import RelevanceError

Recipe = Literal["fusion", "head", "bi-encoder", "cross-encoder"]
RECIPES: Final[tuple[Recipe, ...]] = ("fusion", "head", "bi-encoder", "cross-encoder")

LEAST_QUERIES: Final = 20
"""Fewer judged queries cannot show that anything is better, whatever is trained."""
_FOR_A_HEAD: Final = 100
_FOR_A_BI_ENCODER: Final = 400
_TITLES: Final = 1000
"""Titles that make up for judgments that a bi-encoder would take."""
_FOR_A_CROSS_ENCODER: Final = 5000
"""Pairs of query and relevant document, or of query and document with a teacher's score."""
_NEEDS: Final[dict[Recipe, int]] = {
    "fusion": LEAST_QUERIES,
    "head": LEAST_QUERIES,
    "bi-encoder": 2 * LEAST_QUERIES,
    "cross-encoder": 2 * LEAST_QUERIES,
}


@dataclass(frozen=True, slots=True)
class Amount:
    """How much there is to train on.

    Attributes:
        queries: Those with a relevant document.
        pairs: Of query and relevant document.
        scored: Pairs of query and document with a teacher's score.
        base: The kind of the base model: `bi-encoder` or `cross-encoder`; None if there is none.
        accelerated: True if there is a GPU.
        titles: Documents whose titles can be learned from.
    """

    queries: int
    pairs: int
    scored: int
    base: Literal["bi-encoder", "cross-encoder"] | None
    accelerated: bool
    titles: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """A recipe, and the reason for it in words for people."""

    recipe: Recipe
    reason: str


def choose(wanted: Recipe | Literal["auto"], amount: Amount) -> Choice:
    """Choose a recipe, or check the one that is wanted.

    Raises:
        RelevanceError: There is too little data, or no base model that goes with the recipe.
    """
    _check_queries(amount)
    chosen = _automatic(amount) if wanted == "auto" else Choice(wanted, "it was asked for")
    least = _NEEDS[chosen.recipe]
    if amount.queries < least:
        raise RelevanceError(
            f"the recipe {chosen.recipe} takes {least} judged queries, a part of which is kept back to "
            f"measure it, and there are {amount.queries}: judge {least - amount.queries} more, or use "
            "--recipe fusion"
        )
    if chosen.recipe != "fusion" and amount.base is None:
        raise RelevanceError(f"the recipe {chosen.recipe} needs a model to start from: name one with --base")
    if chosen.recipe in ("head", "bi-encoder") and amount.base != "bi-encoder":
        raise RelevanceError(
            f"the recipe {chosen.recipe} starts from a bi-encoder, and --base is a cross-encoder: name "
            "another base, or use --recipe cross-encoder"
        )
    return chosen


def _check_queries(amount: Amount) -> None:
    if amount.queries < LEAST_QUERIES:
        missing = LEAST_QUERIES - amount.queries
        raise RelevanceError(
            f"{amount.queries} queries have a document that is judged to be relevant, and the least is "
            f"{LEAST_QUERIES}: judge {missing} more (rerank-proxy judge shows them one by one). Up to some "
            f"{_FOR_A_HEAD} queries carry the weights of a fusion of scores, {_FOR_A_HEAD} a layer above a "
            f"bi-encoder, {_FOR_A_BI_ENCODER} a bi-encoder; a cross-encoder takes "
            f"{_FOR_A_CROSS_ENCODER} pairs"
        )


def _automatic(amount: Amount) -> Choice:
    has = f"{amount.queries} judged queries with {amount.pairs} relevant documents"
    if amount.base is None:
        return Choice("fusion", f"{has}, and no --base to train: the weights of a fusion of scores")
    if amount.queries < _FOR_A_HEAD:
        return Choice("fusion", f"{has}: fewer than {_FOR_A_HEAD} carry the weights of a fusion and no more")
    pairs = max(amount.pairs, amount.scored)
    if amount.base == "cross-encoder" or (amount.accelerated and pairs >= _FOR_A_CROSS_ENCODER):
        if pairs < _FOR_A_CROSS_ENCODER:
            return Choice(
                "fusion",
                f"{has}: a cross-encoder takes {_FOR_A_CROSS_ENCODER} pairs, or so many of a --teacher",
            )
        return Choice("cross-encoder", f"{has}, {pairs} pairs: enough for a cross-encoder")
    if amount.titles >= _TITLES and amount.queries < _FOR_A_BI_ENCODER:
        return Choice(
            "bi-encoder", f"{has}, and {amount.titles} titles: enough for all weights of a bi-encoder"
        )
    if amount.queries < _FOR_A_BI_ENCODER:
        return Choice(
            "head", f"{has}: enough for a layer above the bi-encoder, and too few for all of its weights"
        )
    return Choice("bi-encoder", f"{has}: enough for all weights of a bi-encoder")
