"""Evaluations without a server: what systems would have answered is drawn at random, the same each time."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rerank_proxy.relevance.client.index_state import IndexState
from rerank_proxy.relevance.evaluation.answers import Answer
from rerank_proxy.relevance.evaluation.asking import Asked, Failure
from rerank_proxy.relevance.evaluation.material import Material
from rerank_proxy.relevance.evaluation.results import Unjudged, results_of
from rerank_proxy.relevance.evaluation.running import Evaluation, Plan
from rerank_proxy.relevance.judgments import Query, paired, ranked
from rerank_proxy.relevance.systems import System, Wanted, systems_of

MEASURES = ("nDCG@10", "RR@10", "R@10")
DOCUMENTS = 60


def evaluation(
    *,
    queries: int = 40,
    windows: Sequence[int] = (10, 50, 100),
    skill: float = 3.0,
    failing: str | None = None,
    text: str = "query",
    endpoints: Sequence[str] = ("small", "large"),
    unjudged: Unjudged = "wrong",
    first: str = "bm25",
) -> Evaluation:
    """Make an evaluation of bm25 and of endpoints with windows.

    Args:
        skill: How much better the endpoints are; 0: not at all.
        failing: The name of a system that fails for every query.
        first: The name of the baseline.
    """
    rng = random.Random(7)
    systems = systems_of(Wanted([f"{first}=bm25:plot"], endpoints, "plot", windows))
    asked = {each.name: Asked() for each in systems}
    texts = {str(at): Query(str(at), f"{text} {at}") for at in range(queries)}
    judgments = {
        name: {f"d{rng.randrange(DOCUMENTS)}": rng.randint(1, 3) for _ in range(4)} for name in texts
    }
    for name in texts:
        for each in systems:
            if each.name == failing:
                asked[each.name].failures.append(Failure(name, "refused", "500: no reason"))
            else:
                asked[each.name].answers[name] = _answer(rng, each, judgments[name], skill)
    where = Path("evaluation")
    plan = Plan("films", systems, MEASURES, first, where, 0, cold=False, fresh=False, seed=1)
    plan = replace(plan, unjudged=unjudged)
    pair = paired(texts, judgments)
    results = results_of(systems, asked, pair, MEASURES, baseline=first, unjudged=unjudged, seed=1)
    state = IndexState(DOCUMENTS, "9.5.0", [], {})
    return Evaluation(
        plan, "http://localhost:9201", 2, Material(pair, ["judgments.jsonl"]), state, [], results, 9.0, 9.0
    )


def _answer(rng: random.Random, system: System, grades: dict[str, int], skill: float) -> Answer:
    gain = skill * (system.window or 0) / 100
    scores = {f"d{at}": rng.gauss(0, 2) + gain * grades.get(f"d{at}", 0) for at in range(DOCUMENTS)}
    order = sorted(scores, key=scores.__getitem__, reverse=True)[:10]
    took_ms = 5 + rng.random() + (system.window or 0) / 2
    if system.window is None:
        return Answer(tuple(ranked(order)), took_ms)
    counts = f"window={system.window}; scored={system.window}; cached=0; truncated=1; ms={took_ms - 4:.1f}"
    header = f"applied; endpoint={system.group}; model={system.group}-model; {counts}"
    return Answer(tuple(ranked(order)), took_ms, header)
