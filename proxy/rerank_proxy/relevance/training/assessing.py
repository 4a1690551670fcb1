"""Whether a trained model is better, on queries that it was not trained with."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from rerank_proxy.relevance.judgments import Run
from rerank_proxy.relevance.measures import means, values
from rerank_proxy.relevance.numbers import interval, p_of, signed
from rerank_proxy.relevance.statistics import Comparison, bootstrap_interval, compare
from rerank_proxy.relevance.training.fusing import MEASURE

MEASURES: Final = (MEASURE, "RR@10")
TRAINED: Final = "trained"
FIRST: Final = "first stage"
BASE: Final = "before"
FUSED: Final = "before, fused with the first stage"


@dataclass(frozen=True, slots=True)
class Figure:
    """What a system reaches: the mean over the queries, with the interval of 95 % around it."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Assessment:
    """Systems on held-out queries.

    Attributes:
        figures: By system and measure.
        comparisons: The trained model beside each of the other systems, by nDCG@10.
        queries: How many queries there are.
        beside_fused: The trained model beside a fusion of the model before, which takes no training; None if
            that is what was trained.
    """

    figures: Mapping[str, Mapping[str, Figure]]
    comparisons: Mapping[str, Comparison]
    queries: int
    beside_fused: Comparison | None = None

    @property
    def better(self) -> bool:
        """True if the trained model is significantly better than the first stage and the model before."""
        return all(each.significant and each.difference > 0 for each in self.comparisons.values())

    def _beside(self) -> dict[str, Comparison]:
        return {**self.comparisons, **({} if self.beside_fused is None else {FUSED: self.beside_fused})}

    def sentence(self) -> str:
        """Say in one sentence whether the trained model is better."""
        gains = ", ".join(
            f"{signed(each.difference)} against {name} (95 % interval {interval(each.low, each.high)}, "
            f"p {p_of(each.adjusted)})"
            for name, each in self.comparisons.items()
        )
        said = f"{MEASURE} on {self.queries} queries that it was not trained with: {gains}."
        if self.better:
            return f"The trained model is better. {said}{self._simpler()}"
        return f"The trained model is not shown to be better: do not use it for that. {said}"

    def _simpler(self) -> str:
        beside = self.beside_fused
        if beside is None or (beside.significant and beside.difference > 0):
            return ""
        return (
            " But it is not shown to be better than a fusion of the model before with the first stage "
            f"({signed(beside.difference)}, p {p_of(beside.p)}); that takes no training (--recipe fusion)."
        )

    def document(self) -> dict[str, Any]:
        """Return all figures, for programs."""
        return {
            "better": self.better,
            "queries": self.queries,
            "systems": {
                system: {measure: asdict(figure) for measure, figure in of.items()}
                for system, of in self.figures.items()
            },
            "comparisons": {
                name: {**asdict(each), "significant": each.significant}
                for name, each in self._beside().items()
            },
        }


def assess(judgments: Mapping[str, Mapping[str, int]], runs: Mapping[str, Run], seed: int) -> Assessment:
    """Measure systems on the queries that all of them have answered.

    Args:
        runs: Of `TRAINED`, `FIRST` and `BASE`, and of `FUSED` if there is such a run.
    """
    shared: Sequence[str] = [name for name in judgments if all(name in run for run in runs.values())]
    kept = {name: judgments[name] for name in shared}
    found = {system: values(kept, run, MEASURES) for system, run in runs.items()}
    figures = {system: _figures(of, seed) for system, of in found.items()}

    def beside(others: Sequence[str]) -> list[Comparison]:
        own = found[TRAINED][MEASURE]
        return compare(
            [[(found[each][MEASURE][name], own[name]) for name in shared] for each in others], seed=seed
        )

    simpler = beside([FUSED])[0] if FUSED in runs else None
    return Assessment(
        figures, dict(zip((FIRST, BASE), beside((FIRST, BASE)), strict=True)), len(shared), simpler
    )


def _figures(of_system: Mapping[str, Mapping[str, float]], seed: int) -> dict[str, Figure]:
    middle = means(of_system)
    return {
        name: Figure(middle[name], *bootstrap_interval([*of_query.values()], seed=seed))
        for name, of_query in of_system.items()
    }
