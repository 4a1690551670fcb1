"""Measures of what a system found, by the package ir-measures: nDCG@10, RR@10, R@100 and what else it knows.

The package is one of the extra `evaluate`, and is imported when it is needed.
"""

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any, Final

from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.extras import need
from rerank_proxy.relevance.judgments import Judgments, Run, ranked

_UNFIT: Final = (
    NameError,
    ValueError,
    SyntaxError,
    TypeError,
    LookupError,
    AssertionError,
    ArithmeticError,
    RuntimeError,
)
"""What the package raises for measures that it does not know, or cannot compute."""


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
    shared = [name for name in judgments if name in run]
    found: dict[str, dict[str, float]] = {}
    for name in names:
        measure = _measure(name)
        of_query = _computed(name, measure, judgments, {query: run[query] for query in shared if run[query]})
        found[name] = {query: of_query.get(query, 0.0) for query in shared}
    return found


def _computed(name: str, measure: Any, judgments: Judgments, run: Run) -> dict[str, float]:
    """Have the package compute a measure. Queries and documents are numbered for that: some of what it runs
    takes no other ids of queries, and no blanks in those of documents.

    Raises:
        RelevanceError: It cannot be computed.
    """
    queries = {query: str(number) for number, query in enumerate(run, 1)}
    grades, scores = {}, {}
    for query, number in queries.items():
        ids = {each: f"d{at}" for at, each in enumerate([*judgments[query], *(hit.id for hit in run[query])])}
        grades[number] = {ids[each]: grade for each, grade in judgments[query].items()}
        # Their own scores do not do: trec_eval would order equal ones by the ids.
        scores[number] = dict(ranked(ids[hit.id] for hit in run[query]))
    try:
        found = {
            each.query_id: float(each.value) for each in _ir_measures().iter_calc([measure], grades, scores)
        }
    except (*_UNFIT, subprocess.SubprocessError, OSError) as error:
        raise RelevanceError(
            f"{name}: cannot be computed of these judgments: {type(error).__name__} in ir-measures; try "
            "another measure"
        ) from None
    return {query: found[number] for query, number in queries.items() if number in found}


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
        list(module.iter_calc([measure], {"1": {"d": 1}}, {"1": {"d": 1.0}}))
    except _UNFIT:
        raise RelevanceError(
            f"{name}: is not a measure of ir-measures; try nDCG@10, RR@10, R@100, AP, P@5 or Success@1 "
            "(upper and lower case count)"
        ) from None
    except (subprocess.SubprocessError, OSError):
        raise RelevanceError(
            f"{name}: ir-measures needs a program for it, such as perl, that fails here"
        ) from None
    return measure


def _ir_measures() -> ModuleType:
    need("evaluate", "an evaluation")
    import ir_measures

    return ir_measures
