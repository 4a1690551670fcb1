"""The report as plain values: what `report.json` holds, and what every other form shows."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from rerank_proxy.relevance.evaluation.curves import Curve, curves_of
from rerank_proxy.relevance.evaluation.results import Latency, Result
from rerank_proxy.relevance.evaluation.running import Evaluation
from rerank_proxy.relevance.report.client import client_facts
from rerank_proxy.relevance.statistics import CONFIDENCE, ROUNDS

FORMAT: Final = 1
"""Goes up when a reader of an older `report.json` would misread a newer one."""


def document_of(evaluation: Evaluation) -> dict[str, Any]:
    """Return the whole report as JSON has it: numbers that are none are null."""
    results = evaluation.results
    made = {
        "format": FORMAT,
        "made": _made(evaluation),
        "queries": _queries(evaluation),
        "measures": list(results.measures),
        "baseline": results.baseline.system.name,
        "systems": [_system(each) for each in results.all],
        "curves": [_curve(each) for each in curves_of(results)],
    }
    cleaned: dict[str, Any] = _without_nan(made)
    return cleaned


def _made(evaluation: Evaluation) -> dict[str, Any]:
    plan = evaluation.plan
    return {
        "at": datetime.fromtimestamp(evaluation.ended, UTC).isoformat(timespec="seconds"),
        "took_s": round(evaluation.took_s, 1),
        "url": evaluation.url,
        "index": plan.index,
        "documents": evaluation.state.documents,
        "elasticsearch": evaluation.state.elasticsearch,
        "client": client_facts(),
        "concurrency": evaluation.concurrency,
        "timed": plan.timed,
        "cold": plan.cold,
        "unjudged": plan.unjudged,
        "statistics": {"seed": plan.seed, "rounds": ROUNDS, "confidence": CONFIDENCE, "correction": "Holm"},
    }


def _queries(evaluation: Evaluation) -> dict[str, Any]:
    material, results = evaluation.material, evaluation.results
    pair = material.paired
    made = {
        "files": list(material.sources),
        "asked": len(pair.queries),
        "measured": len(results.queries),
        "judgments": material.judged,
        "judgments_by_machines": list(material.judges),
        "without_judgments": len(pair.unjudged),
        "judgments_without_query": len(pair.without_query),
        "without_relevant_document": len(pair.without_relevant),
        "judged_documents_not_in_index": list(evaluation.missing),
        "texts": {name: query.text for name, query in pair.queries.items()},
    }
    if material.clicks is not None:
        clicked, model = material.clicks
        made["clicks"] = {"clicks": clicked.clicks, "too_few": clicked.dropped, **asdict(model)}
    return made


def _system(result: Result) -> dict[str, Any]:
    asked = result.asked
    return {
        "name": result.system.name,
        "group": result.system.group,
        "window": result.system.window,
        "body": result.system.template.body,
        "models": list(result.models),
        "answered": len(asked.answers),
        "of_earlier_runs": asked.kept,
        "failures": [asdict(each) for each in asked.failures],
        "given_up": asked.given_up,
        "means": dict(result.means),
        "interval": list(result.interval),
        "judged_at_10": result.judged,
        "comparisons": {
            name: {**asdict(each), "significant": each.significant}
            for name, each in result.comparisons.items()
        },
        "scored": result.scored,
        "truncated": result.truncated,
        "latency": _latency(result.latency),
        "values": {name: dict(of_query) for name, of_query in result.values.items()},
    }


def _latency(latency: Latency | None) -> dict[str, Any] | None:
    return None if latency is None else asdict(latency)


def _curve(curve: Curve) -> dict[str, Any]:
    return {
        "group": curve.group,
        "windows": [each.system.window for each in curve.points],
        "systems": [each.system.name for each in curve.points],
        "best": curve.best.system.name,
        "cheapest_for_90_percent_of_the_gain": None if curve.cheapest is None else curve.cheapest.system.name,
    }


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return value
