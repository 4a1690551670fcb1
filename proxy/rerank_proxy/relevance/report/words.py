"""What the figures mean, in plain words: findings first, then what a reader has to know to trust them."""

from collections.abc import Iterator, Sequence, Sized
from typing import Final

from rerank_proxy.relevance.evaluation.curves import curves_of
from rerank_proxy.relevance.evaluation.results import ENOUGH, Result
from rerank_proxy.relevance.evaluation.running import Evaluation
from rerank_proxy.relevance.numbers import NONE, interval, number, p_of, signed
from rerank_proxy.relevance.report.tables import milliseconds, title
from rerank_proxy.relevance.statistics import FEWEST

_EACH: Final = 3
"""Up to so many systems that cannot be told from the baseline have a sentence each."""
_FEW: Final = 50
"""Queries below which an evaluation is said to have few."""
_SHORT: Final = 5
"""Systems with few hits that are named."""
_HOLES: Final = 0.8
"""The share of the first hits that are judged below which a report says so."""


def findings_of(evaluation: Evaluation) -> list[str]:
    """Return a sentence or two about each system that is compared, and about each curve of windows."""
    results = evaluation.results
    if not results.others:
        return []
    told = [each for each in results.others if each.comparisons[results.first].significant]
    untold = [each for each in results.others if each not in told]
    found = [_finding(evaluation, each) for each in told]
    if len(untold) > _EACH:
        found.append(_untold(evaluation, untold))
    else:
        found += [_finding(evaluation, each) for each in untold]
    return [*windows_of(evaluation), *found]


def headline_of(evaluation: Evaluation) -> str:
    """Return the result in one sentence."""
    results = evaluation.results
    measure = title(results.first)
    base = results.baseline
    if not base.has_figures:
        return f"The baseline {base.system.name} has answered too few queries: nothing can be compared."
    if not results.others:
        return f"{base.system.name}: {measure} {number(base.means[results.first])}."
    best = max(results.others, key=lambda each: each.means[results.first])
    comparison = best.comparisons[results.first]
    values = f"{measure} {number(best.means[results.first])} in place of {number(base.means[results.first])}"
    if comparison.significant and comparison.difference > 0:
        return (
            f"{best.system.name} is better than {base.system.name}: {values}, and that is more than chance."
        )
    better = [each for each in results.others if _is_worse(each, results.first)]
    if len(better) == len(results.others):
        return f"Every system is worse than {base.system.name}, and that is more than chance."
    return (
        f"No system is shown to be better than {base.system.name}: the best, {best.system.name}, has "
        f"{values}, which may be chance."
    )


def _is_worse(result: Result, measure: str) -> bool:
    comparison = result.comparisons[measure]
    return comparison.significant and comparison.difference < 0


def _finding(evaluation: Evaluation, result: Result) -> str:
    results = evaluation.results
    comparison = result.comparisons[results.first]
    base = results.baseline.system.name
    values = (
        f"{title(results.first)} {number(result.means[results.first])} in place of "
        f"{number(results.baseline.means[results.first])}"
    )
    span = interval(comparison.low, comparison.high)
    details = (
        f"{signed(comparison.difference)}, {'no' if span == NONE else '95 %'} interval"
        f"{'' if span == NONE else f' {span}'}, p {p_of(comparison.adjusted)}"
    )
    counts = (
        f"better for {comparison.wins} queries, worse for {comparison.losses}, equal for {comparison.ties}"
    )
    if not comparison.significant:
        return (
            f"Whether {result.system.name} differs from {base} cannot be told from these queries: {values} "
            f"({details}; {counts})."
        )
    word = "better" if comparison.difference > 0 else "worse"
    return f"{result.system.name} is {word} than {base}: {values} ({details}; {counts})."


def _untold(evaluation: Evaluation, untold: Sequence[Result]) -> str:
    results = evaluation.results
    each = (f"{one.system.name} ({signed(one.comparisons[results.first].difference)})" for one in untold)
    return (
        f"Whether these differ from {results.baseline.system.name} cannot be told from these queries: "
        f"{', '.join(each)}."
    )


def windows_of(evaluation: Evaluation) -> Iterator[str]:
    """Yield a sentence about each curve of windows: where more of it stops to help."""
    results = evaluation.results
    for curve in curves_of(results):
        best = f"{curve.best.system.window} ({number(curve.best.means[results.first])})"
        if curve.cheapest is None:
            yield (
                f"{curve.group}: no window is better than {results.baseline.system.name}; the best is {best}."
            )
            continue
        cheapest = curve.cheapest
        text = (
            f"{curve.group}: a window of {cheapest.system.window} is the smallest that gives 90 % of the "
            f"gain of the best one, {best}"
        )
        first, second = cheapest.latency, curve.best.latency
        if cheapest is not curve.best and first is not None and second is not None:
            text += (
                f"; its searches take {milliseconds(first.client.p50)} ms in place of "
                f"{milliseconds(second.client.p50)}"
            )
        yield f"{text}."


def notes_of(evaluation: Evaluation) -> list[str]:
    """Return what limits the figures: what was left out, failed, was cached, or is not judged."""
    return [
        *_about_queries(evaluation),
        *_about_clicks(evaluation),
        *_about_failures(evaluation),
        *_about_sizes(evaluation),
        *_about_judgments(evaluation),
        *_about_times(evaluation),
    ]


def _about_queries(evaluation: Evaluation) -> Iterator[str]:
    pair, results = evaluation.material.paired, evaluation.results
    if pair.unjudged:
        yield f"{_count(pair.unjudged, 'query', 'queries')} without judgments: not asked."
    if pair.without_query:
        yield (
            f"Judgments of {_count(pair.without_query, 'query', 'queries')} that the file of queries lacks: "
            "not used."
        )
    if pair.without_relevant:
        yield (
            f"{_count(pair.without_relevant, 'query', 'queries')} whose judgments name no document that "
            "answers: not asked, since every system would get 0."
        )
    if 0 < len(results.queries) < FEWEST:
        yield (
            f"{_count(results.queries, 'query tells', 'queries tell')} nothing from chance, however large a "
            f"difference is, and give no interval: take {_FEW} or more."
        )
    elif FEWEST <= len(results.queries) < _FEW:
        yield (
            f"{_count(results.queries, 'query is', 'queries are')} few: differences have to be large to be "
            f"told from chance. Take {_FEW} or more."
        )


def _about_clicks(evaluation: Evaluation) -> Iterator[str]:
    if evaluation.material.clicks is None:
        return
    clicked, model = evaluation.material.clicks
    worth = "for each time it was shown, and"
    if not clicked.shown:
        worth = (
            "(the file does not say what was shown and not clicked: all are taken as shown equally often);"
        )
    yield (
        f"The judgments were made of {clicked.clicks} clicks. Each counts position^{model.eta:g} (at most "
        f"{model.max_weight:g}), because users look at lower hits less often; a document is worth that sum "
        f"{worth} the best of a query has the grade {model.grades}."
    )
    if model.min_clicks > 1:
        yield (
            f"Pairs with fewer than {model.min_clicks} clicks have the grade 0 ({clicked.dropped} of them "
            "had some)."
        )
    yield (
        "Clicks cannot tell whether a document that was never shown is good, so a system that finds such "
        "ones is judged too low; nor whether a click was regretted, nor whether attention falls as assumed."
    )


def _about_failures(evaluation: Evaluation) -> Iterator[str]:
    results = evaluation.results
    asked = len(evaluation.material.paired.queries)
    for each in results.all:
        failures = each.asked.failures
        if each.has_figures and not any(each.hits(query) for query in results.queries):
            yield (
                f"{each.system.name} found nothing for any query: does the index have the fields that it "
                "searches?"
            )
        if not failures:
            continue
        kinds = [failure.kind for failure in failures]
        skipped = (
            f", {kinds.count('skipped')} of them answered in first-stage order" if "skipped" in kinds else ""
        )
        yield (
            f"{each.system.name} failed for {len(failures)} of {asked} queries{skipped}: {failures[0].reason}"
        )
        if not each.has_figures:
            yield (
                f"{each.system.name} has answered fewer than {_share(ENOUGH)} of the queries, and gets "
                "no figures."
            )
    if 0 < len(results.queries) < asked:
        yield (
            f"All figures are of the {len(results.queries)} queries that every system with figures has "
            "answered; a query that failed is left out, and never counts as 0."
        )


def _about_sizes(evaluation: Evaluation) -> Iterator[str]:
    depth = evaluation.plan.depth
    sizes = {each.name: each.body("", depth)["size"] for each in evaluation.plan.systems}
    short = [f"{name} ({size})" for name, size in sizes.items() if isinstance(size, int) and size < depth]
    if short:
        yield (
            f"Measures look at up to {depth} hits, and some systems answer with fewer, by their size or "
            f"window: {', '.join(short[:_SHORT])}{' …' if len(short) > _SHORT else ''}. What is further down "
            "counts as not found."
        )


def _about_judgments(evaluation: Evaluation) -> Iterator[str]:
    if evaluation.missing:
        few = ", ".join(evaluation.missing[:5])
        yield (
            f"{_count(evaluation.missing, 'judged document', 'judged documents')} not in the index, which no "
            f"system can find: {few}{' …' if len(evaluation.missing) > 5 else ''}"
        )
    if evaluation.material.judges:
        yield (
            f"Some of the judgments were made by {', '.join(evaluation.material.judges)}, not by people: a "
            "model that is like it, or was trained on its scores, looks better than it is."
        )
    if evaluation.plan.unjudged == "leave-out":
        yield (
            "Hits without a judgment are left out of the lists, and those below move up: figures say how the "
            "judged documents are ordered among themselves."
        )
        return
    shares = {each.system.name: each.judged for each in evaluation.results.all if each.has_figures}
    if shares and max(shares.values()) - min(shares.values()) > 0.05:
        least, most = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
        yield (
            f"Of the first ten hits of {most} {_share(shares[most])} are judged, of those of {least} "
            f"{_share(shares[least])}: what is not judged counts as wrong, so {least} may be better than it "
            "looks."
        )
    elif shares and min(shares.values()) < _HOLES:
        least, most = _share(min(shares.values())), _share(max(shares.values()))
        span = most if least == most else f"{least} to {most}"
        yield f"Of the first ten hits {span} are judged; what is not judged counts as wrong."


def _about_times(evaluation: Evaluation) -> Iterator[str]:
    latencies = [(each, each.latency) for each in evaluation.results.all if each.latency is not None]
    if not latencies:
        if evaluation.plan.cold:
            yield "No search was without scores from the cache, so there are no times: see --cold."
        return
    if all(latency.alone for _, latency in latencies):
        count = max(latency.client.count for _, latency in latencies)
        yield (
            f"Times are of {count} searches of each system, one at a time and after some that are not "
            "counted, as this client saw them."
        )
    else:
        yield (
            f"Times are of searches that ran up to {evaluation.concurrency} at once, as this client saw "
            "them: --timed measures them one at a time."
        )
    cached = sum(latency.from_cache for _, latency in latencies)
    if cached:
        count = sum(latency.client.count for _, latency in latencies if latency.scores is not None)
        yield (
            f"{cached} of the {count} searches with a reranker had scores, or vectors that scores are made "
            "of, from the proxy's cache: without it they take longer. To time them without, let the proxy "
            "run with engine.cache_bytes: 0."
        )
    left_out = sum(latency.left_out for _, latency in latencies)
    if left_out:
        yield f"{left_out} searches with scores from the cache were not counted for the times (--cold)."


def _share(part: float) -> str:
    return f"{100 * part:.0f} %"


def _count(things: Sized, one: str, many: str) -> str:
    return f"{len(things)} {one if len(things) == 1 else many}"
