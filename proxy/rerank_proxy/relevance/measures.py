"""Measures of what a system found, by the package ir-measures: nDCG@10, RR@10, R@100 and what else it knows.

The package is one of the extra `evaluate`, and is imported when it is needed.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.extras import need
from rerank_proxy.relevance.judgments import Judgments, Run


def checked(names: Iterable[str]) -> list[str]:
    """Return measures as ir-measures spells them, each once: MRR@10 is RR@10.

    Raises:
        RelevanceError: One is not known, or the package is not installed.
    """
    return list(dict.fromkeys(str(_measure(name)) for name in names))


def values(judgments: Judgments, run: Run, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the value of each measure for each query that has both judgments and a list of hits.

    The order of the hits is what counts, as Elasticsearch gave it: hits with equal scores stay in it. A
    query for which nothing was found has the value of an empty list, which is 0 for most measures.

    Args:
        names: As `checked` returns them; other spellings are keys of the result as they are.

    Returns:
        By measure and id of the query, in the order of the judgments.

    Raises:
        RelevanceError: A measure is not known.
    """
    module = _ir_measures()
    shared = [name for name in judgments if name in run]
    found: dict[str, dict[str, float]] = {}
    for name in names:
        measure = _measure(name)
        empty = {query for query in shared if not run[query]}
        scores = {query: _scores(run, query) for query in shared if query not in empty}
        grades = {query: dict(judgments[query]) for query in scores}
        of_query = {each.query_id: each.value for each in module.iter_calc([measure], grades, scores)}
        found[name] = {query: float(of_query.get(query, 0.0)) for query in shared}
    return found


def _scores(run: Run, query: str) -> dict[str, float]:
    """Return scores that put the hits in their order: trec_eval would order equal ones by their ids."""
    hits = run[query]
    return {hit.id: float(len(hits) - place) for place, hit in enumerate(hits)}


def means(values_of: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each measure over its queries; NaN for none."""
    return {
        name: sum(of_query.values()) / len(of_query) if of_query else float("nan")
        for name, of_query in values_of.items()
    }


def _measure(name: str) -> Any:
    module = _ir_measures()
    try:
        measure = module.parse_measure(name)
        list(module.iter_calc([measure], {"q": {"d": 1}}, {"q": {"d": 1.0}}))
    except (
        NameError,
        ValueError,
        SyntaxError,
        TypeError,
        LookupError,
        AssertionError,
        ArithmeticError,
        RuntimeError,
    ):
        raise RelevanceError(
            f"{name}: is not a measure of ir-measures; try nDCG@10, RR@10, R@100, AP, P@5 or Success@1 "
            "(upper and lower case count)"
        ) from None
    return measure


def _ir_measures() -> ModuleType:
    need("evaluate", "an evaluation")
    import ir_measures

    return ir_measures
